package cli

import (
	"context"
	"errors"
	"net"
	"net/url"
	"os"
	"syscall"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestExplain(t *testing.T) {
	t.Parallel()
	f, _, _ := testFactory()
	backups := schema.GroupResource{Group: "velero.io", Resource: "backups"}
	refused := &url.Error{Op: "Get", URL: "https://10.0.0.1:6443/api?x=y", Err: &net.OpError{
		Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}}
	noKind := apierrors.NewGenericServerResponse(404, "get", backups, "", "404 page not found", 0, true)
	cases := map[string]struct {
		err  error
		want string
	}{
		"no server": {refused, "no cluster: 10.0.0.1:6443: connection refused; hint: check --kubeconfig and --context, and that `kubectl version` answers"},
		"not allowed": {apierrors.NewForbidden(backups, "", errors.New(`User "u" cannot list resource "backups"`)),
			`list backups: backups.velero.io is forbidden: User "u" cannot list resource "backups"; hint: ask for that permission, or use credentials that have it (--context, --as)`},
		"quota": {apierrors.NewForbidden(backups, "shop", errors.New("exceeded quota: small")),
			`list backups: backups.velero.io "shop" is forbidden: exceeded quota: small; hint: a quota or an admission policy of the cluster refused it`},
		"no such kind": {noKind, "list backups: the cluster doesn't know the kinds of velero.io; hint: `kubectl velero install` brings them"},
		"no such object": {apierrors.NewNotFound(backups, "shop"),
			`list backups: backups.velero.io "shop" not found`},
		"bad credentials": {apierrors.NewUnauthorized("token expired"),
			"list backups: the cluster doesn't accept these credentials: token expired; hint: check --kubeconfig and --context"},
		"interrupted": {context.Canceled, "context canceled"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := f.explain("list backups", c.err); got.Error() != c.want {
				t.Errorf("\n got %s\nwant %s", got, c.want)
			}
		})
	}
	if err := f.explain("x", nil); err != nil {
		t.Errorf("got %v", err)
	}
}
