package main

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

type entry struct {
	path string
	sum  [sha256.Size]byte
}

func (e *entry) digest(buffer []byte) {
	file, err := os.Open(e.path)
	check(err)
	defer file.Close()
	hash := sha256.New()
	for {
		n, err := file.Read(buffer)
		hash.Write(buffer[:n])
		if err == io.EOF {
			break
		}
		check(err)
	}
	hash.Sum(e.sum[:0])
}

// The twin of examples/digest: one walks, as many as there are threads read and digest; sorted as sha256sum prints them.
func digest(roots []string) {
	var entries []*entry
	var wg sync.WaitGroup
	found := make(chan *entry, 256)
	for range threads {
		wg.Go(func() {
			buffer := make([]byte, 256*1024)
			for e := range found {
				e.digest(buffer)
			}
		})
	}
	for _, root := range roots {
		check(filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				e := &entry{path: path}
				entries = append(entries, e)
				found <- e
			}
			return err
		}))
	}
	close(found)
	wg.Wait()
	slices.SortFunc(entries, func(a, b *entry) int { return strings.Compare(a.path, b.path) })
	out := bufio.NewWriter(os.Stdout)
	for _, e := range entries {
		fmt.Fprintf(out, "%x  %s\n", e.sum, e.path)
	}
	check(out.Flush())
}
