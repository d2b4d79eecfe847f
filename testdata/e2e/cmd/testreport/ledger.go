package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// layers are in the order in which they run and are reported.
var layers = []string{"lint", "unit", "integration", "e2e"}

// exemptions are the only tests that may be skipped where CI=true, each with its
// reason. They are printed each time.
var exemptions = map[string]string{
	"govulncheck": "its database is on the Internet, which not every machine reaches",
	"TestKind":    "kind needs a container engine; where none answers, its code is still compiled, vetted and unit-tested",
}

// counts is what came of some tests.
type counts struct {
	Passed int `json:"passed"`
	// Failed and Skipped are the names of tests.
	Failed  []string `json:"failed,omitempty"`
	Skipped []string `json:"skipped,omitempty"`
}

func (c *counts) merge(other counts) {
	c.Passed += other.Passed
	c.Failed = append(c.Failed, other.Failed...)
	c.Skipped = append(c.Skipped, other.Skipped...)
}

func (c counts) String() string {
	text := fmt.Sprintf("%d passed, %d failed", c.Passed, len(c.Failed))
	if len(c.Skipped) > 0 {
		text += fmt.Sprintf(", %d skipped", len(c.Skipped))
	}
	return text
}

// ledger keeps the counts of each layer in a file, since the layers run as
// separate processes.
type ledger struct {
	dir string
	// strict makes a skip that isn't exempt a failure.
	strict bool
}

func (l ledger) file(layer string) string { return filepath.Join(l.dir, layer+".json") }

func (l ledger) reset(which []string) error {
	for _, layer := range orAll(which) {
		if err := os.Remove(l.file(layer)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// orAll is all layers where none is named.
func orAll(which []string) []string {
	if len(which) == 0 {
		return layers
	}
	return which
}

func (l ledger) read(layer string) (counts, error) {
	var kept counts
	text, err := os.ReadFile(l.file(layer))
	if errors.Is(err, os.ErrNotExist) {
		return kept, nil
	}
	if err != nil {
		return kept, err
	}
	return kept, json.Unmarshal(text, &kept)
}

// add keeps the counts and returns errFailed if they hold a failure.
func (l ledger) add(layer string, c counts, out io.Writer) error {
	if !slices.Contains(layers, layer) {
		return fmt.Errorf("unknown layer %q, there are %q", layer, layers)
	}
	c = l.judge(c, out)
	kept, err := l.read(layer)
	if err != nil {
		return err
	}
	kept.merge(c)
	text, err := json.Marshal(kept)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(l.dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(l.file(layer), text, 0o644); err != nil {
		return err
	}
	if len(c.Failed) > 0 {
		return errFailed
	}
	return nil
}

// judge names each skip, and turns those that may not be into failures.
func (l ledger) judge(c counts, out io.Writer) counts {
	judged := counts{Passed: c.Passed, Failed: c.Failed}
	for _, name := range c.Skipped {
		reason, exempt := exemptions[name]
		switch {
		case exempt:
			fmt.Fprintf(out, "SKIP %s: exempt: %s\n", name, reason)
			judged.Skipped = append(judged.Skipped, name)
		case l.strict:
			fmt.Fprintf(out, "FAIL %s: skipped, and with CI=true that is a failure\n", name)
			judged.Failed = append(judged.Failed, name)
		default:
			fmt.Fprintf(out, "SKIP %s: with CI=true this is a failure\n", name)
			judged.Skipped = append(judged.Skipped, name)
		}
	}
	return judged
}

// close prints the failures and the counts of the layers, and of all together,
// and returns errFailed if a test failed or a layer ran none.
func (l ledger) close(which []string, out io.Writer) error {
	which = orAll(which)
	var total counts
	var lines []string
	for _, layer := range which {
		kept, err := l.read(layer)
		if err != nil {
			return err
		}
		if kept.Passed+len(kept.Failed)+len(kept.Skipped) == 0 {
			kept.Failed = append(kept.Failed, "no test ran")
		}
		for _, name := range kept.Failed {
			fmt.Fprintf(out, "FAIL %s: %s\n", layer, name)
		}
		for _, name := range kept.Skipped {
			fmt.Fprintf(out, "SKIP %s: %s\n", layer, name)
		}
		lines = append(lines, layer+": "+kept.String())
		total.merge(kept)
	}
	if len(which) > 1 {
		lines = append(lines, total.String())
	}
	for _, line := range lines {
		fmt.Fprintln(out, line)
	}
	if len(total.Failed) > 0 {
		return errFailed
	}
	return nil
}
