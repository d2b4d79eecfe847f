package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// summary is all that one run of the bench has measured.
type summary struct {
	backups  results
	restores []*restoreResult
	uploads  uploads
	// snapshots is nil when none were measured.
	snapshots *snapshotResult
}

// printTargets says what of what is wanted was reached.
func (s *summary) printTargets(w io.Writer) {
	fmt.Fprintln(w)
	target := func(what string, value, limit float64, format string, most bool) {
		bound, met := "at least", value >= limit
		if most {
			bound, met = "at most", value <= limit
		}
		verdict := "met"
		if !met {
			verdict = "NOT MET"
		}
		fmt.Fprintf(w, "  %-55s "+format+", %s "+format+": %s\n", what, value, bound, limit, verdict)
	}
	s.backups.printTargets(target)
	for _, r := range s.restores {
		r.printTargets(target)
	}
	s.uploads.printTargets(target)
	if s.snapshots != nil {
		s.snapshots.printTargets(target)
	}
}

// write writes bench.json. What this run hasn't measured stays as it was.
func (s *summary) write(path string) error {
	var file struct {
		Backup  json.RawMessage `json:"backup,omitempty"`
		Restore json.RawMessage `json:"restore,omitempty"`
		Upload  json.RawMessage `json:"upload,omitempty"`

		Snapshots json.RawMessage `json:"snapshots,omitempty"`
	}
	body, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(body, &file)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("keep what stands in %s: %w", path, err)
	}
	if len(s.backups) > 0 {
		if file.Backup, err = json.Marshal(s.backups.figures()); err != nil {
			return err
		}
	}
	if len(s.restores) > 0 {
		if file.Restore, err = json.Marshal(restoresFigures(s.restores)); err != nil {
			return err
		}
	}
	if len(s.uploads) > 0 {
		if file.Upload, err = json.Marshal(s.uploads.figures()); err != nil {
			return err
		}
	}
	if s.snapshots != nil {
		if file.Snapshots, err = json.Marshal(s.snapshots.figures()); err != nil {
			return err
		}
	}
	body, err = json.MarshalIndent(file, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(body, '\n'), 0o644)
}

// restoresFigures is the main data set, with the other beside it.
func restoresFigures(all []*restoreResult) *restoreFigures {
	main := all[len(all)-1].figures()
	if len(all) > 1 {
		main.Small = all[0].figures()
	}
	return main
}
