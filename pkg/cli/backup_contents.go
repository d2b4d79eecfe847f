package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
)

func newBackupContents(f *Factory, use string) *cobra.Command {
	o := &contentsFlags{output: newOutput("")}
	cmd := &cobra.Command{
		Use:   use + " NAME [[NAMESPACE/]KIND[/NAME]]",
		Short: "List the objects that are in a backup",
		Long: "List the objects that are in a backup, or in an archive on disk with --file, which takes no cluster. " +
			"The formats json, yaml and jsonpath give names and kinds, not the objects themselves: those show with `backup cat`.",
		Example: f.examples(`  # All
  %[1]s backup contents shop

  # The Deployments of one namespace
  %[1]s backup contents shop shop/deploy

  # In an archive that was downloaded
  %[1]s backup contents --file shop-data.tar.gz secrets`),
		Args: func(cmd *cobra.Command, args []string) error { return o.archive.nameAnd(cmd, args, 0, 1) },
		RunE: func(cmd *cobra.Command, args []string) error {
			name, rest := o.archive.split(args)
			query, err := parseQuery(strings.Join(rest, ""))
			if err != nil {
				return err
			}
			if err := o.output.check(); err != nil {
				return err
			}
			return o.run(cmd.Context(), f, name, query)
		},
	}
	o.output.add(cmd, false)
	cmd.Flags().Lookup("output").Usage = "Output format. One of: table, wide, json, yaml, name, jsonpath=TEMPLATE, go-template=TEMPLATE."
	o.archive.add(cmd)
	f.completeFirst(cmd, completeBackups)
	return cmd
}

type contentsFlags struct {
	archive archiveFlags
	output  *output
}

// nameAnd asks for the name of a backup, unless there is a file, and for least
// to most arguments besides.
func (a *archiveFlags) nameAnd(cmd *cobra.Command, args []string, least, most int) error {
	if a.file == "" {
		if len(args) == 0 {
			return fmt.Errorf("the name of the backup is missing; hint: %s, or --file", cmd.UseLine())
		}
		args = args[1:]
	}
	if len(args) < least || len(args) > most {
		return fmt.Errorf("wrong number of arguments; hint: %s, or --file in place of NAME", cmd.UseLine())
	}
	return nil
}

// split tells the backup's name, empty with a file, from the other arguments.
func (a *archiveFlags) split(args []string) (name string, rest []string) {
	if a.file != "" {
		return "", args
	}
	return args[0], args[1:]
}

// storedName says which object is in an archive.
type storedName struct {
	gvk             schema.GroupVersionKind
	namespace, name string
}

func (o *contentsFlags) run(ctx context.Context, f *Factory, backup string, query objectQuery) error {
	ctx, cancel := o.archive.bounded(ctx)
	defer cancel()
	source, err := f.openArchive(ctx, &o.archive, backup)
	if err != nil {
		return err
	}
	defer source.Close(ctx)
	names, err := source.names(ctx, query)
	if err != nil {
		return err
	}
	if len(names) == 0 && query.text != "" {
		return source.nothing(ctx, f, query)
	}
	return o.print(f, names, source.what)
}

// names are the objects that the query selects, by kind and name.
func (a *archiveSource) names(ctx context.Context, query objectQuery) ([]storedName, error) {
	list, err := a.resourceList(ctx)
	if err != nil {
		return nil, err
	}
	names := selectNames(list, query)
	if len(names) > 0 {
		return names, nil
	}
	// The list says kinds, and the plural of a kind can be irregular: only the
	// archive has that.
	err = a.each(ctx, query, func(item archive.Item, id identity) error {
		gvk := schema.FromAPIVersionAndKind(id.APIVersion, id.Kind)
		names = append(names, storedName{gvk, item.Namespace, item.Name})
		return nil
	})
	sortNames(names)
	return names, err
}

func selectNames(list map[string][]string, query objectQuery) []storedName {
	var names []storedName
	for key, entries := range list {
		gvk := groupVersionKind(key)
		plural, _ := meta.UnsafeGuessKindToResource(gvk)
		for _, entry := range entries {
			namespace, name, namespaced := strings.Cut(entry, "/")
			if !namespaced {
				namespace, name = "", entry
			}
			if query.selects(plural.GroupResource(), gvk.Kind, namespace, name) {
				names = append(names, storedName{gvk, namespace, name})
			}
		}
	}
	sortNames(names)
	return names
}

func sortNames(names []storedName) {
	slices.SortFunc(names, func(a, b storedName) int {
		return cmp.Or(cmp.Compare(a.gvk.Kind, b.gvk.Kind), cmp.Compare(a.gvk.Group, b.gvk.Group), cmp.Compare(a.gvk.Version, b.gvk.Version),
			cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.name, b.name))
	})
}

// nothing is the end of a query that selects no object: an error when the kind
// isn't known, or when one object was asked for.
func (a *archiveSource) nothing(ctx context.Context, f *Factory, query objectQuery) error {
	resources := a.resources()
	named := false
	for _, r := range query.readings {
		known := shortNames[strings.ToLower(r.kind)] != "" || slices.ContainsFunc(resources, func(name string) bool {
			return isKind(r.kind, schema.ParseGroupResource(name), "")
		})
		if known && r.name == "" {
			fmt.Fprintf(f.ErrOut, "No resources found in %s\n", a.what)
			return nil
		}
		named = named || known
	}
	if named {
		return a.notThere(ctx, query)
	}
	return unknownKind(a.what, query, resources)
}

func unknownKind(what string, query objectQuery, resources []string) error {
	kind := query.readings[0].kind
	var like []string
	for _, r := range query.readings {
		like = append(like, near(r.kind, resources)...)
	}
	if len(like) == 0 {
		like = resources
	}
	if len(like) == 0 {
		return fmt.Errorf("%s holds no objects", what)
	}
	return fmt.Errorf("%s holds no kind %q; hint: it holds %s", what, kind, strings.Join(like, ", "))
}

// notThere says that the object isn't in the archive, and what is like it.
func (a *archiveSource) notThere(ctx context.Context, query objectQuery) error {
	missing := fmt.Errorf("%s holds no %s", a.what, query.text)
	list, err := a.resourceList(ctx)
	if err != nil {
		return errors.Join(missing, err)
	}
	first, last := query.readings[0], query.readings[len(query.readings)-1]
	var texts, bare []string
	for _, n := range selectNames(list, objectQuery{readings: []objectReading{{kind: first.kind}, {kind: last.kind}}}) {
		texts, bare = append(texts, n.String()), append(bare, n.name)
	}
	var like []string
	for _, name := range near(first.name, bare) {
		if text := texts[slices.Index(bare, name)]; !slices.Contains(like, text) {
			like = append(like, text)
		}
	}
	if len(like) == 0 {
		like = texts[:min(mostNear, len(texts))]
	}
	if len(like) == 0 {
		return missing
	}
	return fmt.Errorf("%w; hint: it holds %s", missing, strings.Join(like, ", "))
}

// String is how the object is named to commands, "shop/deployment/web".
func (n storedName) String() string {
	text := strings.ToLower(n.gvk.Kind) + "/" + n.name
	if n.namespace != "" {
		text = n.namespace + "/" + text
	}
	return text
}

func (o *contentsFlags) print(f *Factory, names []storedName, what string) error {
	if !o.output.table() {
		printer, err := o.output.flags.ToPrinter()
		if err != nil {
			return err
		}
		list := nameList(names)
		objects := []runtime.Object{list}
		if o.output.format() == "name" {
			objects = objects[:0]
			for _, item := range list.Items {
				objects = append(objects, item.Object)
			}
		}
		for _, object := range objects {
			if err := printer.PrintObj(object, f.Out); err != nil {
				return fmt.Errorf("print as %s: %w", o.output.format(), err)
			}
		}
		return nil
	}
	if len(names) == 0 {
		fmt.Fprintf(f.ErrOut, "No resources found in %s\n", what)
		return nil
	}
	table := &metav1.Table{ColumnDefinitions: columns("Namespace", "Kind", "Name", "+Api Version")}
	for _, n := range names {
		apiVersion, kind := n.gvk.ToAPIVersionAndKind()
		table.Rows = append(table.Rows, metav1.TableRow{Cells: []any{n.namespace, kind, n.name, apiVersion}})
	}
	return o.output.printTable(f.Out, f.ErrOut, table, "")
}

// nameList is a list of objects of which only kind and name are there.
func nameList(names []storedName) *metav1.List {
	list := &metav1.List{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "List"}, Items: []runtime.RawExtension{}}
	for _, n := range names {
		object := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: n.namespace, Name: n.name}}
		object.SetGroupVersionKind(n.gvk)
		list.Items = append(list.Items, runtime.RawExtension{Object: object})
	}
	return list
}
