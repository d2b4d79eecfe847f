package transform_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-velero/kubectl-velero/pkg/transform"
)

func mentions(t *testing.T, in string, mapping map[string]string) []string {
	t.Helper()
	opts := options(func(o *transform.Options) { o.Mentions, o.NamespaceMapping = true, mapping })
	decision, err := transform.New(opts).Apply(schema.ParseGroupResource("configmaps"), parse(t, in))
	if err != nil {
		t.Fatal(err)
	}
	return decision.Mentions
}

func TestMentions(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		in   string
		want []string
	}{{
		name: "an environment variable",
		in:   `spec: {containers: [{name: shop, env: [{name: A, value: x}, {name: NAMESPACE, value: shop}]}]}`,
		want: []string{"spec.containers[0].env[1].value"},
	}, {
		name: "a list", in: `spec: {watch: [other, shop]}`, want: []string{"spec.watch[1]"},
	}, {
		name: "a key with dots", in: `data: {app.conf: "db=jdbc:postgresql://db.shop.svc.cluster.local:5432/x\n"}`,
		want: []string{`data["app.conf"]`},
	}, {
		name: "an annotation", in: `metadata: {annotations: {example.com/ref: shop/cert}}`,
		want: []string{`metadata.annotations["example.com/ref"]`},
	}, {
		name: "the label with a namespace's name", in: `spec: {selector: {kubernetes.io/metadata.name: shop}}`,
		want: []string{`spec.selector["kubernetes.io/metadata.name"]`},
	}, {
		name: "the first three", in: `data: {a: shop, b: shop, c: shop, d: shop}`, want: []string{"data.a", "data.b", "data.c"},
	}, {
		name: "names, images and labels say nothing",
		in:   `{metadata: {labels: {app: shop}}, spec: {name: shop, title: "a shop with a namespace", image: shop/web, selector: {app: shop}, matchLabels: {app: shop}}}`,
	}, {
		name: "names of objects beside it say nothing",
		in:   `{metadata: {annotations: {meta.helm.sh/release-name: shop}}, spec: {serviceAccountName: shop, secretName: shop, nodeSelector: {pool: shop}}}`,
	}, {
		name: "names that hold a host or a namespace do",
		in:   `{metadata: {annotations: {meta.helm.sh/release-namespace: shop}}, spec: {externalName: db.shop.svc.cluster.local, namespaceName: shop}}`,
		want: []string{`metadata.annotations["meta.helm.sh/release-namespace"]`, "spec.externalName", "spec.namespaceName"},
	}, {
		name: "what kubectl applied says nothing new",
		in:   `metadata: {annotations: {kubectl.kubernetes.io/last-applied-configuration: '{"metadata":{"namespace":"shop"}}'}}`,
	}, {
		name: "where it stands itself", in: `metadata: {namespace: shop}`,
	}, {
		name: "other types", in: `{a: 1, b: null, c: [true], d: {shop: x}}`,
	}, {
		name: "data that nobody reads", in: `data: {a: c2hvcA==}`,
	}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, mentions(t, tc.in, map[string]string{"shop": "shop2"})); diff != "" {
				t.Errorf("mentions (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTextsThatNameANamespace(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"shop":                               true,
		"shop/web":                           true,
		"web.shop.svc":                       true,
		"http://web.shop.svc:80/x":           true,
		"https://web.shop.svc.example.com":   true,
		"http://web.shop:80":                 true,
		"web.shop":                           true,
		"a web.shop, b":                      true,
		"0.web.shop.svc":                     true,
		"shopping, then web.shop.svc":        true,
		"system:serviceaccount:shop:web":     true,
		"system:serviceaccounts:shop":        true,
		"--namespace=shop":                   true,
		"-watch-namespaces=shop,b":           true,
		"request.namespace == 'shop'":        true,
		"{\"a\":1,\"Namespace\": \"shop\"}":  true,
		"metadata:\n  namespace: shop\nb: c": true,
		"namespace: shop2":                   false,
		"namespaceshop":                      false,
		"names: shop":                        false,
		"":                                   false,
		"shop2":                              false,
		"a shop":                             false,
		"shop/":                              false,
		"shop/web:1.0":                       false,
		"workshop.svc":                       false,
		"web.shop2.svc":                      false,
		"web.shop.svcs":                      false,
		".shop.svc":                          false,
		"com.example.shop":                   false,
		"web.shop.example.com":               false,
		"system:serviceaccount:shop2:web":    false,
		"system:serviceaccounts:shop2":       false,
	} {
		got := mentions(t, fmt.Sprintf("data: {a: %q}", text), map[string]string{"shop": "elsewhere"})
		if (len(got) > 0) != want {
			t.Errorf("%q: mentions %v, want %t", text, got, want)
		}
	}
}

func TestMentionsPassOverTargets(t *testing.T) {
	t.Parallel()
	const in = `data: {a: shop, b: other}`
	for name, tc := range map[string]struct {
		mapping map[string]string
		want    []string
	}{
		"no mapping": {},
		"swapped":    {mapping: map[string]string{"shop": "other", "other": "shop"}},
		"a chain":    {mapping: map[string]string{"shop": "other", "other": "third"}, want: []string{"data.a"}},
		"two":        {mapping: map[string]string{"shop": "x", "other": "y"}, want: []string{"data.a", "data.b"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, mentions(t, in, tc.mapping)); diff != "" {
				t.Errorf("mentions (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMentionsAreAskedFor(t *testing.T) {
	t.Parallel()
	decision, err := transform.New(options()).Apply(schema.ParseGroupResource("configmaps"), parse(t, `data: {a: shop}`))
	if err != nil || decision.Mentions != nil {
		t.Errorf("mentions %s, error %v", strings.Join(decision.Mentions, ", "), err)
	}
}
