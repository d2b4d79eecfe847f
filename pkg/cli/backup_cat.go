package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
)

type catFlags struct {
	archive archiveFlags
	format  string
}

func newBackupCat(f *Factory, use string) *cobra.Command {
	o := &catFlags{}
	cmd := &cobra.Command{
		Use:   use + " NAME [NAMESPACE/]KIND/NAME",
		Short: "Print one object as it is in a backup",
		Long: "Print one object as it is in a backup, or in an archive on disk with --file, which takes no cluster. " +
			"Nothing is left out or masked: a Secret shows its data.",
		Example: f.examples(`  %[1]s backup cat shop shop/deploy/web

  # Bring one object back by hand
  %[1]s backup cat shop shop/configmap/web-config | kubectl apply -f -

  # From an archive that was downloaded
  %[1]s backup cat --file shop-data.tar.gz clusterrole/shop-reader -o json`),
		Args: func(cmd *cobra.Command, args []string) error { return o.archive.nameAnd(cmd, args, 1, 1) },
		RunE: func(cmd *cobra.Command, args []string) error {
			name, rest := o.archive.split(args)
			query, err := parseOne(rest[0])
			if err != nil {
				return err
			}
			if o.format != "yaml" && o.format != "json" {
				return fmt.Errorf("output format %q is not known; hint: there are yaml and json", o.format)
			}
			return o.run(cmd.Context(), f, name, query)
		},
	}
	cmd.Flags().StringVarP(&o.format, "output", "o", "yaml", "Output format. One of: yaml, json.")
	o.archive.add(cmd)
	f.completeFirst(cmd, completeBackups)
	return cmd
}

func (o *catFlags) run(ctx context.Context, f *Factory, backup string, query objectQuery) error {
	ctx, cancel := o.archive.bounded(ctx)
	defer cancel()
	source, err := f.openArchive(ctx, &o.archive, backup)
	if err != nil {
		return err
	}
	defer source.Close(ctx)
	return o.print(ctx, f, source, query)
}

func (o *catFlags) print(ctx context.Context, f *Factory, source *archiveSource, query objectQuery) error {
	body, err := source.one(ctx, query)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if o.format == "json" {
		err = json.Indent(&text, body, "", "    ")
		text.WriteByte('\n')
	} else {
		var plain []byte
		plain, err = yaml.JSONToYAML(body)
		text.Write(plain)
	}
	if err != nil {
		return fmt.Errorf("print %s of %s: %w", query.text, source.what, err)
	}
	_, err = f.Out.Write(text.Bytes())
	return err
}

// one returns the body of the only object that the query selects.
func (a *archiveSource) one(ctx context.Context, query objectQuery) ([]byte, error) {
	var body []byte
	var found []archive.Item
	err := a.each(ctx, query, func(item archive.Item, _ identity) error {
		if len(found) > 0 && found[0].Resource == item.Resource {
			return nil // another version of the same object
		}
		if body == nil {
			body = slices.Clone(item.Body)
		}
		item.Body = nil
		found = append(found, item)
		if a.index == nil && found[0].Resource.String() == query.readings[0].kind {
			return errEnough // no other kind has that name
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case len(found) > 1:
		return nil, fmt.Errorf("%q is the name of several kinds: %s and %s; hint: give one with its group", query.text, itemName(found[0]), itemName(found[1]))
	case len(found) == 1:
		return body, nil
	}
	resources := a.resources()
	if !slices.ContainsFunc(resources, func(name string) bool { return isKind(query.readings[0].kind, schema.ParseGroupResource(name), "") }) {
		return nil, unknownKind(a.what, query, resources)
	}
	return nil, a.notThere(ctx, query)
}
