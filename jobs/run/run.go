// Package run is what every operation inside a Job begins and ends with:
// clients, the log, the deadline, the termination message and the exit code. The
// operations themselves are its neighbours.
package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/client"
	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
	"github.com/kubectl-velero/kubectl-velero/pkg/version"
)

// Where a Job's pod has what its location needs, as far as there is any.
const (
	DefaultCredentialsFile = launch.CredentialsDir + "/" + launch.CredentialsKey
	DefaultCustomerKeyFile = launch.EncryptionKeyDir + "/" + launch.EncryptionKeyFile
	DefaultStorageDir      = launch.StorageDir
)

// Options are the flags common to all operations.
type Options struct {
	// Namespace is where the velero.io objects live.
	Namespace string
	// Kubeconfig and Context choose the cluster outside of one; empty values
	// follow the usual rules and end with the pod's own service account.
	Kubeconfig, Context string
	// CredentialsFile is the location's credentials; a file that doesn't exist
	// means the cloud SDK's default chain.
	CredentialsFile string
	// CustomerKeyFile is the key (32 bytes) that the location's config names by
	// customerKeyEncryptionSecret.
	CustomerKeyFile string
	// StorageDir is, for locations of provider filesystem, where their volume is.
	StorageDir string
	// LogLevel is the least level that is logged.
	LogLevel slog.Level
}

// Env is what an operation works with. All of it is safe for concurrent use.
type Env struct {
	REST      *rest.Config
	Client    *client.Client
	Kube      kubernetes.Interface
	Dynamic   dynamic.Interface
	Discovery discovery.DiscoveryInterface

	// Namespace is where the velero.io objects live.
	Namespace string
	// JobName and JobUID are the Job that this process runs in; empty outside.
	JobName, JobUID string
	// Attempt counts the Job's pods from 1; LastAttempt says that the Job starts
	// no other when this one fails. Outside of a Job it is the last.
	Attempt     int
	LastAttempt bool
	// Features are the feature flags of the installation: names such as
	// EnableAPIGroupVersions; one that this version doesn't know has no effect.
	// Without any said, there is FeatureCSI.
	Features []string

	Log *slog.Logger
	// LogText returns the log so far, gzipped.
	LogText func() ([]byte, error)
	// OpenStore opens the bucket of a location.
	OpenStore func(ctx context.Context, location *velerov1.BackupStorageLocation) (store.Bucket, error)
	// OpenSnapshotter opens what takes and deletes the disk snapshots of a location;
	// a provider that this version doesn't know is an error.
	OpenSnapshotter func(ctx context.Context, location *velerov1.VolumeSnapshotLocation) (snapshot.Snapshotter, error)
}

// Start connects to the cluster and returns the environment and a context that
// ends with the Job's deadline. subject, "backup=velero/shop" as two words, goes
// into every line of the log.
func Start(ctx context.Context, opts Options, subject ...any) (context.Context, context.CancelFunc, *Env, error) {
	logFile := newLog(os.Stderr)
	log := slog.New(logFile.handler(opts.LogLevel)).With(subject...)
	redirectKlog(log)
	cfg, err := restConfig(opts)
	if err != nil {
		return nil, nil, nil, err
	}
	env := &Env{
		REST: cfg, Namespace: opts.Namespace, Log: log, LogText: logFile.gzipped,
		JobName: os.Getenv("JOB_NAME"), JobUID: os.Getenv("JOB_UID"),
		Attempt: 1, LastAttempt: true, Features: features(os.LookupEnv("VELERO_FEATURES")),
	}
	env.OpenStore = env.openStore(opts)
	env.OpenSnapshotter = openSnapshotter(opts)
	if err := env.connect(); err != nil {
		return nil, nil, nil, err
	}
	cancel := context.CancelFunc(func() {})
	if env.JobName != "" {
		ctx, cancel, err = env.readJob(ctx)
		if err != nil {
			return nil, nil, nil, err
		}
	}
	return ctx, cancel, env, nil
}

// features splits a comma separated list. An installation that says nothing, other
// than one that says "none", has those that are on by default.
func features(list string, set bool) []string {
	if !set {
		return []string{FeatureCSI}
	}
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}

// FeatureAPIGroupVersions makes a backup store every served version of each kind,
// and a restore choose the best that both clusters serve.
const FeatureAPIGroupVersions = "EnableAPIGroupVersions"

// FeatureCSI has CSI drivers take snapshots, where the cluster serves their API.
const FeatureCSI = "EnableCSI"

// HasFeature reports whether a feature flag is set.
func (e *Env) HasFeature(name string) bool { return slices.Contains(e.Features, name) }

func restConfig(opts Options) (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = opts.Kubeconfig
	overrides := &clientcmd.ConfigOverrides{CurrentContext: opts.Context}
	cfg, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("find the cluster: %w", err)
	}
	cfg.QPS = -1 // the API server's own fairness decides; see API Priority and Fairness
	cfg.UserAgent = version.UserAgent()
	if os.Getenv("JOB_NAME") != "" {
		// A proxy in the pod's environment is the way to the storage.
		cfg.Proxy = func(*http.Request) (*url.URL, error) { return nil, nil }
	}
	cfg.WarningHandler = rest.NoWarnings{} // that a kind is deprecated is no news to a backup
	return cfg, nil
}

func (e *Env) connect() error {
	var err error
	if e.Client, err = client.New(e.REST); err != nil {
		return err
	}
	if e.Kube, err = kubernetes.NewForConfig(e.REST); err != nil {
		return fmt.Errorf("connect to the cluster: %w", err)
	}
	if e.Dynamic, err = dynamic.NewForConfig(e.REST); err != nil {
		return fmt.Errorf("connect to the cluster: %w", err)
	}
	e.Discovery = e.Kube.Discovery()
	return nil
}

// errDeadline is the cause of a context that ended with the Job's deadline.
var errDeadline = errors.New("deadline reached")

// readJob finds out from this process's Job which attempt this is and how long
// it may take: the time kept free before the Job's own deadline is the grace
// period, in which the end can still be told.
func (e *Env) readJob(ctx context.Context) (context.Context, context.CancelFunc, error) {
	job, err := e.Kube.BatchV1().Jobs(e.Namespace).Get(ctx, e.JobName, metav1.GetOptions{})
	if err != nil {
		return nil, nil, fmt.Errorf("read this process's Job %q: %w", e.JobName, err)
	}
	e.Attempt = int(job.Status.Failed) + 1
	e.LastAttempt = job.Spec.BackoffLimit == nil || job.Status.Failed >= *job.Spec.BackoffLimit
	deadline, ok := deadlineOf(job)
	if !ok {
		return ctx, func() {}, nil
	}
	ctx, cancel := context.WithDeadlineCause(ctx, deadline, errDeadline)
	return ctx, cancel, nil
}

func deadlineOf(job *batchv1.Job) (time.Time, bool) {
	if job.Spec.ActiveDeadlineSeconds == nil || job.Status.StartTime == nil {
		return time.Time{}, false
	}
	total := time.Duration(*job.Spec.ActiveDeadlineSeconds) * time.Second
	grace := 30 * time.Second
	if seconds := job.Spec.Template.Spec.TerminationGracePeriodSeconds; seconds != nil {
		grace = time.Duration(*seconds) * time.Second
	}
	if grace > total/2 {
		grace = total / 2
	}
	return job.Status.StartTime.Add(total - grace), true
}

// Interruption tells why ctx, which has ended, did so: Cancelled when the Job is
// being deleted or its deadline was reached, Temporary when only this pod has to
// go (its node is drained, for example) and the Job will start another.
func (e *Env) Interruption(ctx context.Context) (report.Outcome, string) {
	if errors.Is(context.Cause(ctx), errDeadline) {
		return report.Cancelled, "the Job's deadline was reached"
	}
	if e.JobName == "" {
		return report.Cancelled, "interrupted"
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	job, err := e.Kube.BatchV1().Jobs(e.Namespace).Get(ctx, e.JobName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || (err == nil && job.DeletionTimestamp != nil) {
		return report.Cancelled, fmt.Sprintf("Job %q was deleted", e.JobName)
	}
	return report.Temporary, "the pod was told to stop; its Job starts another"
}
