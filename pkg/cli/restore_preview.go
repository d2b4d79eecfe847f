package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/printers"
	"sigs.k8s.io/yaml"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// trySilence is how long the Job of a trial may say nothing.
const trySilence = time.Minute

// preview tries the restore and prints what would become of each object. A
// restore that would fail is an error of its own kind.
func (o *restoreCreate) preview(ctx context.Context, s *session, restore *velerov1.Restore) error {
	format := o.output.format()
	if !slices.Contains([]string{"", "table", "wide", "json", "yaml"}, format) {
		return fmt.Errorf("output format %q is not known with --dry-run=server; hint: there are table, wide, json and yaml", format)
	}
	if err := s.restoreNameIsFree(ctx, restore.Name); err != nil {
		return err
	}
	p := &previewed{Items: []report.PreviewItem{}}
	end, err := o.try(ctx, s, trial{
		restore: restore, start: o.startTimeout.Value, silence: trySilence,
		tell: func(item report.PreviewItem) error {
			p.Items = append(p.Items, item)
			return nil
		},
	})
	if err != nil {
		return err
	}
	p.Backup, p.Counts, p.Warnings, p.Errors = restore.Spec.BackupName, end.Counts, end.Warnings, end.Errors
	slices.SortFunc(p.Items, comparePreviewItems)
	if err := p.print(s.Out, format); err != nil {
		return err
	}
	if format != "json" && format != "yaml" {
		p.summarize(s.ErrOut)
	}
	return p.failure()
}

// previewed is what a restore would do; its JSON is what -o json prints.
type previewed struct {
	Backup   string                       `json:"backup"`
	Counts   map[report.PreviewAction]int `json:"counts"`
	Warnings []string                     `json:"warnings,omitempty"`
	Errors   []string                     `json:"errors,omitempty"`
	Items    []report.PreviewItem         `json:"items"`
}

// previewActions are what can become of objects, in the order of the table: what
// needs a look comes last, right above the prompt. Their words follow a number.
var previewActions = []struct {
	action report.PreviewAction
	words  string
}{
	{report.PreviewUnchanged, "unchanged"},
	{report.PreviewCreate, "to create"},
	{report.PreviewUpdate, "to update"},
	{report.PreviewRecreate, "to recreate"},
	{report.PreviewSkip, "skipped"},
	{report.PreviewUnchecked, "that can't be told yet"},
	{report.PreviewRefuse, "that would be refused"},
}

func comparePreviewItems(a, b report.PreviewItem) int {
	return cmp.Or(
		cmp.Compare(previewRank(a.Action), previewRank(b.Action)),
		cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Resource, b.Resource), cmp.Compare(a.Name, b.Name))
}

// previewRank puts actions that this version doesn't know first.
func previewRank(action report.PreviewAction) int {
	for i, known := range previewActions {
		if known.action == action {
			return i
		}
	}
	return -1
}

func (p *previewed) print(w io.Writer, format string) error {
	switch format {
	case "json":
		body, err := json.MarshalIndent(p, "", "  ")
		if err != nil {
			return fmt.Errorf("print as json: %w", err)
		}
		fmt.Fprintf(w, "%s\n", body)
		return nil
	case "yaml":
		body, err := yaml.Marshal(p)
		if err != nil {
			return fmt.Errorf("print as yaml: %w", err)
		}
		fmt.Fprintf(w, "%s", body)
		return nil
	}
	wide := format == "wide"
	table := p.table(wide)
	if len(table.Rows) == 0 {
		return nil
	}
	return printers.NewTablePrinter(printers.PrintOptions{Wide: wide}).PrintObj(table, w)
}

// table has a row for each object; those that stay as they are only when it is
// wide.
func (p *previewed) table(wide bool) *metav1.Table {
	table := &metav1.Table{ColumnDefinitions: columns("Action", "Kind", "Namespace", "Name", "Reason", "+Resource", "+Version")}
	for _, item := range p.Items {
		if item.Action == report.PreviewUnchanged && len(item.Warnings) == 0 && !wide {
			continue
		}
		table.Rows = append(table.Rows, metav1.TableRow{Cells: []any{
			string(item.Action), cmp.Or(item.Kind, item.Resource), item.Namespace, item.Name, remarks(item), item.Resource, item.Version,
		}})
	}
	return table
}

// remarks are all that is to say about an object, on one line. Some of it others
// wrote.
func remarks(item report.PreviewItem) string {
	texts := make([]string, 0, 1+len(item.Warnings))
	if item.Reason != "" {
		texts = append(texts, item.Reason)
	}
	for _, warning := range item.Warnings {
		texts = append(texts, "warning: "+warning)
	}
	line := strings.Join(strings.Fields(strings.Join(texts, "; ")), " ")
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, line)
}

// summarize counts, and tells what concerns the restore as a whole.
func (p *previewed) summarize(w io.Writer) {
	var parts []string
	for _, known := range previewActions {
		if n := p.Counts[known.action]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, known.words))
		}
	}
	if len(parts) == 0 {
		parts = []string{"nothing to restore"}
	}
	fmt.Fprintf(w, "Restore from backup %q (server dry run): %s\n", p.Backup, strings.Join(parts, ", "))
	for _, text := range p.Warnings {
		fmt.Fprintln(w, asText("warning: "+text))
	}
	for _, text := range p.Errors {
		fmt.Fprintln(w, asText("error: "+text))
	}
}

// failure is the error of a restore that would fail; nil for one that wouldn't, as
// far as that can be told.
func (p *previewed) failure() error {
	var why []string
	if n := p.Counts[report.PreviewRefuse]; n > 0 {
		why = append(why, count(n, "object")+" would be refused")
	}
	if n := len(p.Errors); n > 0 {
		why = append(why, count(n, "error"))
	}
	if len(why) == 0 {
		return nil
	}
	return &codedError{code: exitDiffers, err: errors.New("this restore would not complete: " + enumerate(why))}
}
