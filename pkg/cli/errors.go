package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// Exit codes of the plugin.
const (
	exitCompleted       = 0
	exitError           = 1 // wrong usage, or anything that no other code names
	exitPartiallyFailed = 2
	exitFailed          = 3
	exitCancelled       = 4 // also a wait that was interrupted or timed out
)

// outcomeError is the end of an operation that didn't complete.
type outcomeError struct {
	outcome report.Outcome
	text    string
}

func (e *outcomeError) Error() string { return e.text }

// ExitCode is the exit code that stands for err: 0 without an error, 2 when an
// operation partially failed, 3 when it failed, 4 when it or the wait for it was
// cancelled or timed out, 1 for everything else.
func ExitCode(err error) int {
	if err == nil {
		return exitCompleted
	}
	if coded := (*codedError)(nil); errors.As(err, &coded) {
		return coded.code
	}
	if ended := (*outcomeError)(nil); errors.As(err, &ended) {
		switch ended.outcome {
		case report.Completed:
			return exitCompleted
		case report.PartiallyFailed:
			return exitPartiallyFailed
		case report.Cancelled:
			return exitCancelled
		}
		return exitFailed
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return exitCancelled
	}
	return exitError
}

// PrintError writes err for a person: what went wrong, and each hint on a line
// of its own. It writes nothing for nil, and for an exit code that is no error.
func PrintError(w io.Writer, err error) {
	if coded := (*codedError)(nil); err == nil || errors.As(err, &coded) && coded.err == nil {
		return
	}
	fmt.Fprintln(w, asText("error: "+err.Error()))
}

// asText puts hints, which errors carry after a semicolon, on their own lines.
func asText(s string) string { return strings.ReplaceAll(s, "; hint: ", "\nhint: ") }

// errNoKubeconfig is the error of a machine that knows no cluster.
var errNoKubeconfig = errors.New("no cluster: no kubeconfig was found; hint: set KUBECONFIG or --kubeconfig")

// configError explains why there is no cluster to talk to.
func configError(err error) error {
	if clientcmd.IsEmptyConfig(err) {
		return errNoKubeconfig
	}
	return fmt.Errorf("no cluster: %w; hint: check --kubeconfig, --context and `kubectl config get-contexts`", err)
}

// explain turns an error of the API server into one that says what is missing
// and what to do. doing says what was tried, such as `create backup "shop"`.
func (f *Factory) explain(doing string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	if reach := unreachable(err); reach != "" {
		return fmt.Errorf("no cluster: %s; hint: check --kubeconfig and --context, and that `kubectl version` answers", reach)
	}
	status := apierrors.APIStatus(nil)
	switch {
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("%s: the cluster doesn't accept these credentials: %w; hint: check --kubeconfig and --context", doing, err)
	case errors.As(err, &status) && apierrors.IsForbidden(err):
		return fmt.Errorf("%s: %s; hint: %s", doing, status.Status().Message, forbiddenHint(status))
	case notInstalled(err):
		return fmt.Errorf("%s: the cluster doesn't know the kinds of velero.io; hint: `%s install` brings them", doing, f.name)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// forbiddenHint tells a missing permission from a refusal by quota or policy,
// which the API server reports with the same status.
func forbiddenHint(status apierrors.APIStatus) string {
	s := status.Status()
	if !strings.Contains(s.Message, " cannot ") {
		return "a quota or an admission policy of the cluster refused it"
	}
	return "ask for that permission, or use credentials that have it (--context, --as)"
}

// notInstalled reports whether the API server has no kinds of velero.io.
func notInstalled(err error) bool {
	if meta.IsNoMatchError(err) {
		return true
	}
	status := apierrors.APIStatus(nil)
	if !errors.As(err, &status) || !apierrors.IsNotFound(err) {
		return false
	}
	// A missing object names itself in the details; a missing kind doesn't.
	details := status.Status().Details
	return strings.Contains(status.Status().Message, "could not find the requested resource") &&
		(details == nil || details.Group == "velero.io" || details.Group == "")
}

// unreachable says why a server didn't answer at all; empty when it did.
func unreachable(err error) string {
	asked := (*url.Error)(nil)
	if !errors.As(err, &asked) {
		return ""
	}
	host := asked.URL
	if u, parseErr := url.Parse(asked.URL); parseErr == nil {
		host = u.Host
	}
	cause := asked.Err
	if op := (*net.OpError)(nil); errors.As(cause, &op) {
		cause = op.Err
	}
	if call := (*os.SyscallError)(nil); errors.As(cause, &call) {
		cause = call.Err
	}
	return fmt.Sprintf("%s: %v", host, cause)
}
