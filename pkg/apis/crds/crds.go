// Package crds holds the CustomResourceDefinitions of the velero.io kinds, generated
// from the Go types in packages v1 and v2alpha1.
package crds

import (
	"embed"
	"fmt"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

//go:embed *.yaml
var files embed.FS

// All returns the CustomResourceDefinitions of every velero.io kind, ordered by name.
// Each carries the label component=velero. The caller owns what it gets.
func All() ([]*apiextensionsv1.CustomResourceDefinition, error) {
	entries, err := files.ReadDir(".")
	if err != nil {
		return nil, fmt.Errorf("list embedded CustomResourceDefinitions: %w", err)
	}
	all := make([]*apiextensionsv1.CustomResourceDefinition, 0, len(entries))
	for _, entry := range entries {
		body, err := files.ReadFile(entry.Name())
		if err != nil {
			return nil, fmt.Errorf("read embedded %s: %w", entry.Name(), err)
		}
		crd := new(apiextensionsv1.CustomResourceDefinition)
		if err := yaml.UnmarshalStrict(body, crd); err != nil {
			return nil, fmt.Errorf("decode embedded %s: %w", entry.Name(), err)
		}
		all = append(all, crd)
	}
	return all, nil
}
