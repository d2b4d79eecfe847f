package crds_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/kubectl-velero/kubectl-velero/pkg/apis/crds"
)

func TestAllSaysWhatVeleroSays(t *testing.T) {
	t.Parallel()
	all, err := crds.All()
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, crd := range all {
		kinds = append(kinds, crd.Spec.Names.Kind)
		t.Run(crd.Spec.Names.Kind, func(t *testing.T) {
			t.Parallel()
			compare(t, crd, facts[crd.Spec.Names.Kind])
		})
	}
	slices.Sort(kinds)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(facts)), kinds); diff != "" {
		t.Errorf("kinds (-want +got):\n%s", diff)
	}
}

func compare(t *testing.T, crd *apiextensionsv1.CustomResourceDefinition, want crdFacts) {
	t.Helper()
	kind := crd.Spec.Names.Kind
	check := func(what string, want, got any) {
		t.Helper()
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	check("name", want.plural+".velero.io", crd.Name)
	check("labels", map[string]string{"component": "velero"}, crd.Labels)
	check("group", "velero.io", crd.Spec.Group)
	check("scope", apiextensionsv1.NamespaceScoped, crd.Spec.Scope)
	check("conversion", (*apiextensionsv1.CustomResourceConversion)(nil), crd.Spec.Conversion)
	check("names", apiextensionsv1.CustomResourceDefinitionNames{
		Plural: want.plural, Singular: strings.ToLower(kind), ShortNames: want.short, Kind: kind, ListKind: kind + "List",
	}, crd.Spec.Names)
	if len(crd.Spec.Versions) != 1 {
		t.Fatalf("got %d versions, want 1", len(crd.Spec.Versions))
	}
	version := crd.Spec.Versions[0]
	check("version", want.version, version.Name)
	if !version.Served || !version.Storage {
		t.Error("the version is not both served and stored")
	}
	if version.Subresources != nil && (version.Subresources.Status != nil || version.Subresources.Scale != nil) {
		t.Errorf("subresources: got %v, want none", version.Subresources)
	}
	check("columns", want.columns, columns(version))
	schema := version.Schema.OpenAPIV3Schema
	if len(schema.Required) != 0 {
		t.Errorf("required at the top level: %v", schema.Required)
	}
	got := map[string]string{}
	describeFields(got, "", schema)
	for _, every := range []string{"kind", "apiVersion", "metadata"} {
		delete(got, every)
	}
	check("fields", want.fields, got)
}

func columns(version apiextensionsv1.CustomResourceDefinitionVersion) []string {
	var out []string
	for _, c := range version.AdditionalPrinterColumns {
		typ := c.Type
		if c.Format != "" {
			typ += "(" + c.Format + ")"
		}
		line := fmt.Sprintf("%s: %s %s", c.Name, typ, c.JSONPath)
		if c.Priority != 0 {
			line += fmt.Sprintf(" %d", c.Priority)
		}
		out = append(out, line)
	}
	return out
}

// describeFields writes the notation of every field below an object into out.
func describeFields(out map[string]string, prefix string, object *apiextensionsv1.JSONSchemaProps) {
	for name, field := range object.Properties {
		notation, inner := describe(&field)
		if slices.Contains(object.Required, name) {
			notation += " R"
		}
		if field.Nullable {
			notation += " N"
		}
		if field.MinItems != nil {
			notation += fmt.Sprintf(" min%d", *field.MinItems)
		}
		out[prefix+name] = notation
		if inner != nil {
			describeFields(out, prefix+name+".", inner)
		}
	}
}

// describe returns a field's notation and, if it has fields of its own, the object
// that holds them.
func describe(field *apiextensionsv1.JSONSchemaProps) (string, *apiextensionsv1.JSONSchemaProps) {
	switch field.Type {
	case "string":
		return describeString(field), nil
	case "boolean":
		return "bool", nil
	case "integer":
		if field.Format != "" {
			return field.Format, nil
		}
		return "int", nil
	case "array":
		notation, inner := describe(field.Items.Schema)
		return "[]" + strings.TrimPrefix(notation, "{}"), inner
	case "object":
		return describeObject(field)
	default:
		return "unknown type " + field.Type, nil
	}
}

func describeString(field *apiextensionsv1.JSONSchemaProps) string {
	if len(field.Enum) > 0 {
		values := make([]string, len(field.Enum))
		for i, value := range field.Enum {
			values[i] = strings.Trim(string(value.Raw), `"`)
		}
		return "enum(" + strings.Join(values, "|") + ")"
	}
	switch field.Format {
	case "":
		return "s"
	case "date-time":
		return "Time"
	case "byte":
		return "bytes"
	default:
		return "unknown format " + field.Format
	}
}

func describeObject(field *apiextensionsv1.JSONSchemaProps) (string, *apiextensionsv1.JSONSchemaProps) {
	if field.XPreserveUnknownFields != nil && *field.XPreserveUnknownFields {
		return "raw", nil
	}
	if extra := field.AdditionalProperties; extra != nil {
		if extra.Schema != nil && extra.Schema.Type == "string" {
			return "map", nil
		}
		return "unknown map", nil
	}
	required := slices.Sorted(slices.Values(field.Required))
	shape := strings.Join(slices.Sorted(maps.Keys(field.Properties)), " ") + "/" + strings.Join(required, " ")
	switch shape {
	case "matchExpressions matchLabels/":
		return "LS", nil
	case "apiGroup kind name/kind name":
		return "TLOR", nil
	case "key name optional/key":
		if def := field.Properties["name"].Default; def == nil || string(def.Raw) != `""` {
			return "SKS without its default name", nil
		}
		return "SKS", nil
	case "apiVersion fieldPath kind name namespace resourceVersion uid/":
		return "OR", nil
	default:
		return "{}", field
	}
}
