package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/utils/ptr"

	"github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/client"
	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/install"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

const (
	bucketName  = "bench"
	tokenExpiry = 12 * time.Hour
)

// bed is a cluster with an installation, and an S3 server.
type bed struct {
	options
	set    dataSet
	folder string // of this data set, in the state folder
	admin  *rest.Config
	kube   kubernetes.Interface
	velero *client.Client
	s3     *testenv.S3Server
	bucket store.Bucket
	// adminKubeconfig is that of the one who may do everything.
	adminKubeconfig string
	// kubeconfig is that of the account that backups run as.
	kubeconfig string
	// kept says that the cluster may stay: all of it was loaded.
	kept bool
	// unlock lets the next run have the cluster.
	unlock func() error
}

// startBed starts what is not running. A bed that is half up is taken down.
func startBed(ctx context.Context, o options, set dataSet) (_ *bed, err error) {
	b := &bed{options: o, set: set, folder: filepath.Join(o.state, "bench", set.name())}
	if b.unlock, err = lock(b.folder + ".lock"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.stop(false))
		}
	}()
	if err := os.MkdirAll(b.folder, 0o755); err != nil {
		return nil, err
	}
	progress("cluster %s", set.name())
	kubeconfig, err := b.cluster(ctx, "up", "--mode", "api")
	if err != nil {
		return nil, err
	}
	b.adminKubeconfig = strings.TrimSpace(kubeconfig)
	if b.admin, err = clientcmd.BuildConfigFromFlags("", b.adminKubeconfig); err != nil {
		return nil, err
	}
	b.admin.QPS = -1 // the cluster is to be loaded as fast as it can be
	b.admin.WarningHandler = rest.NoWarnings{}
	if b.s3, err = testenv.StartS3(ctx, testenv.StartOptions{Root: filepath.Join(b.folder, "s3")}); err != nil {
		return nil, err
	}
	if err := b.s3.CreateBucket(ctx, bucketName); err != nil {
		return nil, err
	}
	if b.bucket, err = store.Open(ctx, b.s3.Location(bucketName, "")); err != nil {
		return nil, err
	}
	return b, b.install(ctx)
}

// lock waits until no other run has the data set. The file stays, or two runs
// could have a lock on two files of the same name.
func lock(path string) (unlock func() error, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
		return file.Close, nil // closing is unlocking
	}
	progress("another run has this cluster; waiting for its end")
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), file.Close())
	}
	return file.Close, nil
}

// stop ends the servers; with keep the cluster stays, if it was loaded.
func (b *bed) stop(keep bool) (err error) {
	defer func() { err = errors.Join(err, b.unlock()) }()
	var errs []error
	if b.s3 != nil {
		errs = append(errs, b.s3.Stop())
	}
	errs = append(errs, os.RemoveAll(filepath.Join(b.folder, "s3")))
	if keep && b.kept {
		progress("cluster %s is left up; hint: the next run without KEEP=1 takes it down", b.set.name())
		return errors.Join(errs...)
	}
	_, err = b.cluster(context.Background(), "down") // also after an interrupt
	return errors.Join(append(errs, err, os.RemoveAll(b.folder))...)
}

// cluster runs a command of the test-bed's cluster tool and returns its output.
func (b *bed) cluster(ctx context.Context, args ...string) (string, error) {
	args = append(args, "--name", b.set.name())
	command := exec.CommandContext(ctx, filepath.Join(b.state, "bin", "cluster"), args...)
	command.Dir = b.root
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("cluster %s: %w\n%s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return string(out), nil
}

// install makes the cluster one that backups can be made of.
func (b *bed) install(ctx context.Context) error {
	var err error
	if b.kube, err = kubernetes.NewForConfig(b.admin); err != nil {
		return err
	}
	if b.velero, err = client.New(b.admin); err != nil {
		return err
	}
	dyn, err := dynamic.NewForConfig(b.admin)
	if err != nil {
		return err
	}
	location := b.s3.Location(bucketName, "")
	err = install.Apply(ctx, install.Cluster{Kubernetes: b.kube, Dynamic: dyn}, install.Options{
		Namespace: velerov1.DefaultNamespace, Image: "example.com/executor:bench",
		Location: &install.Location{Provider: location.Provider, Bucket: location.Bucket, Config: location.Config},
	}, func(install.Change) {})
	if err != nil {
		return err
	}
	b.kubeconfig, err = b.accountKubeconfig(ctx, launch.ServiceAccount)
	return err
}

// accountKubeconfig returns the path of a kubeconfig for an account that Jobs
// run as.
func (b *bed) accountKubeconfig(ctx context.Context, account string) (string, error) {
	token, err := b.token(ctx, account)
	if err != nil {
		return "", err
	}
	server := &clientcmdapi.Cluster{
		Server: b.admin.Host, CertificateAuthority: b.admin.CAFile, CertificateAuthorityData: b.admin.CAData,
	}
	return b.writeKubeconfig(account+".kubeconfig", server, token)
}

func (b *bed) token(ctx context.Context, account string) (string, error) {
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: ptr.To(int64(tokenExpiry / time.Second)),
	}}
	token, err := b.kube.CoreV1().ServiceAccounts(velerov1.DefaultNamespace).
		CreateToken(ctx, account, request, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("ask for a token of %q: %w", account, err)
	}
	return token.Status.Token, nil
}

// writeKubeconfig returns the path of a kubeconfig in the folder.
func (b *bed) writeKubeconfig(name string, server *clientcmdapi.Cluster, token string) (string, error) {
	const entry = "bench"
	path := filepath.Join(b.folder, name)
	return path, clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{entry: server},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{entry: {Token: token}},
		Contexts:       map[string]*clientcmdapi.Context{entry: {Cluster: entry, AuthInfo: entry}},
		CurrentContext: entry,
	}, path)
}

// progress tells what goes on; results go to stdout.
func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "# "+format+"\n", args...)
}
