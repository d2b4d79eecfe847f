package transform_test

import (
	"testing"

	"github.com/kubectl-velero/kubectl-velero/pkg/transform"
)

// typical are kinds that differ in what is done to them.
var typical = []string{
	"configmaps/web-config", "deployments.apps/web", "pods/db-0", "secrets/db", "services/web-nodeport",
	"customresourcedefinitions.apiextensions.k8s.io/crd_widgets.shop.example.com",
}

func bench(b *testing.B, each func(f fixture) error) {
	all := fixtures(b)
	for _, name := range typical {
		f, ok := all[name]
		if !ok {
			b.Fatalf("no fixture %s", name)
		}
		b.Run(f.resource.Resource, func(b *testing.B) {
			b.SetBytes(int64(len(f.body)))
			b.ReportAllocs()
			for b.Loop() {
				if err := each(f); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	bench(b, func(f fixture) error {
		_, err := transform.Parse(f.body)
		return err
	})
}

// BenchmarkApply is what a restore does for each object.
func BenchmarkApply(b *testing.B) {
	transformer := transform.New(options(func(o *transform.Options) { o.NamespaceMapping = nil }))
	bench(b, apply(transformer))
}

func BenchmarkApplyMapped(b *testing.B) {
	bench(b, apply(transform.New(options())))
}

func apply(transformer *transform.Transformer) func(fixture) error {
	return func(f fixture) error {
		obj, err := transform.Parse(f.body)
		if err != nil {
			return err
		}
		if _, err := transformer.Apply(f.resource, obj); err != nil {
			return err
		}
		_, err = obj.Encode()
		return err
	}
}

// BenchmarkLive is what a restore does for each object that is there.
func BenchmarkLive(b *testing.B) {
	transformer := transform.New(options())
	bench(b, func(f fixture) error {
		obj, err := transform.Parse(f.body)
		if err != nil {
			return err
		}
		if err := transformer.Live(f.resource, obj); err != nil {
			return err
		}
		_, err = obj.Fingerprint()
		return err
	})
}
