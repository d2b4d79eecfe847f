package transform_test

import (
	"testing"

	"github.com/kubectl-velero/kubectl-velero/pkg/transform"
)

func TestSecret(t *testing.T) {
	t.Parallel()
	credentials := transform.Decision{Skip: "it holds the credentials of a location"}
	run(t, []testCase{{
		name: "opaque stays", resource: "secrets",
		in: `{type: Opaque, data: {token: dA==, "ca.crt": Yw==}}`,
	}, {
		name: "token of an account is emptied", resource: "secrets",
		in: `
type: kubernetes.io/service-account-token
metadata: {annotations: {kubernetes.io/service-account.name: web, kubernetes.io/service-account.uid: u}}
data: {token: dA==, "ca.crt": Yw==, namespace: c2hvcA==}
`,
		want: `
type: kubernetes.io/service-account-token
metadata: {annotations: {kubernetes.io/service-account.name: web}}
data: {namespace: c2hvcA==}
`,
	}, {
		name: "token of an account with a name like it", resource: "secrets",
		in: `
type: kubernetes.io/service-account-token
metadata: {name: web-token, annotations: {kubernetes.io/service-account.name: web}}
data: {namespace: c2hvcA==}
`,
	}, {
		name: "token without data", resource: "secrets",
		in: `{type: kubernetes.io/service-account-token, data: null}`,
	}, {
		name: "no type", resource: "secrets", in: `{data: {token: dA==}}`,
	}, {
		name: "token made by an old cluster", resource: "secrets",
		in: `
type: kubernetes.io/service-account-token
metadata: {name: web-token-abcde, annotations: {kubernetes.io/service-account.name: web}}
`,
		decision: transform.Decision{Skip: "the cluster makes tokens of service accounts by itself"},
	}, {
		name: "credentials of a location", resource: "secrets", decision: credentials,
		in: `{metadata: {name: cloud-credentials, namespace: velero}, data: {cloud: eA==}}`,
	}, {
		name: "password of the repositories", resource: "secrets", decision: credentials,
		in: `{metadata: {name: velero-repo-credentials, namespace: velero}}`,
	}, {
		name: "the same name elsewhere", resource: "secrets",
		in: `{metadata: {name: cloud-credentials, namespace: other}, data: {cloud: eA==}}`,
	}})
}

func TestServiceAccount(t *testing.T) {
	t.Parallel()
	run(t, []testCase{{
		name: "the last token secret goes", resource: "serviceaccounts",
		in:   `{secrets: [{name: x-token-1}, {name: mine}, {name: x-token-2}], imagePullSecrets: [{name: p}]}`,
		want: `{secrets: [{name: x-token-1}, {name: mine}], imagePullSecrets: [{name: p}]}`,
	}, {
		name: "the only one goes", resource: "serviceaccounts",
		in: `{secrets: [{name: x-token-1}]}`, want: `{}`,
	}, {
		name: "others stay", resource: "serviceaccounts",
		in: `{secrets: [{name: y-token-1}]}`,
	}})
}

func TestConfigMap(t *testing.T) {
	t.Parallel()
	run(t, []testCase{{
		name: "certificate authority of the cluster", resource: "configmaps",
		in:       `{metadata: {name: kube-root-ca.crt, namespace: shop}, data: {ca.crt: x}}`,
		decision: transform.Decision{Skip: "every cluster publishes its own certificate authority"},
	}, {
		name: "any other", resource: "configmaps", in: `{data: {a: b}, immutable: true}`,
	}})
}
