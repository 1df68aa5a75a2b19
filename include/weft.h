/* weft.h — goroutines for C. */
#ifndef WEFT_H
#define WEFT_H
#include "weft/go.h"
#include "weft/chan.h"
#include "weft/select.h"
#include "weft/sync.h"
#include "weft/time.h"
#include "weft/ctx.h"
#include "weft/scope.h"
#include "weft/group.h"
#include "weft/local.h"
#include "weft/io.h"
#include "weft/net.h"
#include "weft/file.h"
#include "weft/signal.h"
#include "weft/process.h"
#include "weft/debug.h"
#endif
