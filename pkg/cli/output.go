package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/printers"
	"k8s.io/client-go/kubernetes/scheme"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/cli/flag"
)

// output is the flags that say how objects are printed.
type output struct {
	flags        *genericclioptions.PrintFlags
	labelColumns flag.List
	showLabels   bool
}

// newOutput prepares the flags; operation is the word that follows a name in
// messages, such as "created".
func newOutput(operation string) *output {
	return &output{flags: genericclioptions.NewPrintFlags(operation)}
}

// add defines the flags. Commands that show objects have tables, too.
func (o *output) add(cmd *cobra.Command, tables bool) {
	o.flags.AddFlags(cmd)
	for _, rare := range []string{"template", "allow-missing-template-keys", "show-managed-fields"} {
		cmd.Flags().Lookup(rare).Hidden = true
	}
	formats := "json, yaml, name, jsonpath=TEMPLATE, go-template=TEMPLATE"
	usage := "Print the objects that would be created, and create nothing. One of: " + formats + "."
	if tables {
		usage = "Output format. One of: table, wide, " + formats + "."
		cmd.Flags().VarP(&o.labelColumns, "label-columns", "L", "Labels to show as columns, separated by commas.")
		cmd.Flags().BoolVar(&o.showLabels, "show-labels", false, "Show all labels in the last column.")
	}
	f := cmd.Flags().Lookup("output")
	f.Usage = usage
	f.DefValue = ""
}

// format is what -o says; empty when it wasn't given.
func (o *output) format() string { return *o.flags.OutputFormat }

// table reports whether a table is wanted.
func (o *output) table() bool {
	switch o.format() {
	case "", "table", "wide":
		return *o.flags.TemplatePrinterFlags.TemplateArgument == ""
	}
	return false
}

// chosen reports whether objects are to be printed instead of created.
func (o *output) chosen() bool { return o.format() != "" || !o.table() }

// check finds an unknown format before anything is done.
func (o *output) check() error {
	if o.table() {
		return nil
	}
	if _, err := o.flags.ToPrinter(); err != nil {
		return fmt.Errorf("output format %q is not known; hint: there are table, wide, json, yaml, name, jsonpath=TEMPLATE and go-template=TEMPLATE", o.format())
	}
	return nil
}

// print writes objects in the chosen format, one after the other.
func (o *output) print(w io.Writer, objects ...runtime.Object) error {
	printer, err := o.flags.ToPrinter()
	if err != nil {
		return o.check()
	}
	for _, object := range objects {
		if err := setKind(object); err != nil {
			return err
		}
		if err := printer.PrintObj(object, w); err != nil {
			return fmt.Errorf("print as %s: %w", o.format(), err)
		}
	}
	return nil
}

// printList writes a list: a list of one as the object itself, as Velero does.
func (o *output) printList(w io.Writer, list runtime.Object) error {
	items, err := meta.ExtractList(list)
	if err != nil {
		return fmt.Errorf("print list: %w", err)
	}
	for _, item := range items {
		if err := setKind(item); err != nil {
			return err
		}
	}
	if len(items) == 1 || o.format() == "name" {
		return o.print(w, items...)
	}
	if err := meta.SetList(list, items); err != nil {
		return fmt.Errorf("print list: %w", err)
	}
	return o.print(w, list)
}

// setKind fills in kind and apiVersion, which typed clients leave out.
func setKind(object runtime.Object) error {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{velerov1.AddToScheme, scheme.AddToScheme} {
		if err := add(s); err != nil {
			return fmt.Errorf("register kinds: %w", err)
		}
	}
	kinds, _, err := s.ObjectKinds(object)
	if err != nil {
		return fmt.Errorf("print: %w", err)
	}
	object.GetObjectKind().SetGroupVersionKind(preferred(kinds))
	return nil
}

func preferred(kinds []schema.GroupVersionKind) schema.GroupVersionKind { return kinds[0] }

// printTable writes t; an empty one as a sentence on errOut, since scripts read
// out.
func (o *output) printTable(out, errOut io.Writer, t *metav1.Table, namespace string) error {
	if len(t.Rows) == 0 {
		fmt.Fprintf(errOut, "No resources found in namespace %s\n", namespace)
		return nil
	}
	printer := printers.NewTablePrinter(printers.PrintOptions{
		Wide:         o.format() == "wide",
		ShowLabels:   o.showLabels,
		ColumnLabels: o.labelColumns,
	})
	return printer.PrintObj(t, out)
}

// columns makes column definitions; names behind a "+" show only with -o wide.
func columns(names ...string) []metav1.TableColumnDefinition {
	definitions := make([]metav1.TableColumnDefinition, 0, len(names))
	for _, name := range names {
		plain, wide := strings.CutPrefix(name, "+")
		definition := metav1.TableColumnDefinition{Name: plain, Type: "string"}
		if wide {
			definition.Priority = 1
		}
		definitions = append(definitions, definition)
	}
	return definitions
}

func row(object runtime.Object, cells ...any) metav1.TableRow {
	return metav1.TableRow{Cells: cells, Object: runtime.RawExtension{Object: object}}
}
