package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/term"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/client"
	"github.com/kubectl-velero/kubectl-velero/pkg/version"
)

// Factory gives commands what the global flags stand for: the namespace that
// Velero's objects live in, the cluster's clients, and the streams. Its methods
// may be called any number of times and make no request by themselves. Create
// it with newFactory.
type Factory struct {
	// IOStreams is where commands read and write.
	genericiooptions.IOStreams

	name        string // as the user calls the program, for help and hints
	now         func() time.Time
	config      *genericclioptions.ConfigFlags
	namespace   string
	kubecontext string
}

func newFactory(streams genericiooptions.IOStreams, argv0 string) *Factory {
	config := genericclioptions.NewConfigFlags(true)
	// The flag -n is always the namespace of Velero's objects and never the
	// context's, so kubectl's own is left out.
	config.Namespace = nil
	return &Factory{IOStreams: streams, name: programName(argv0), now: time.Now, config: config}
}

// programName is how a person calls the program that was started as argv0: a
// kubectl plugin is called by its two words.
func programName(argv0 string) string {
	base := strings.TrimSuffix(filepath.Base(argv0), ".exe")
	if plugin, ok := strings.CutPrefix(base, "kubectl-"); ok {
		return "kubectl " + strings.ReplaceAll(plugin, "_", "-")
	}
	return base
}

func (f *Factory) addFlags(flags *pflag.FlagSet) {
	flags.StringVarP(&f.namespace, "namespace", "n", "",
		"The namespace that Velero's objects and Jobs live in, not the one to back up. "+
			"Default: the client config file's, then $VELERO_NAMESPACE, then velero.")
	flags.StringVar(&f.kubecontext, "kubecontext", "", "The kubeconfig context to use; the same as --context.")
	f.config.AddFlags(flags)
	ignored(flags, "features", "")
	ignored(flags, "colorized", "true")
}

// ignored accepts a flag of Velero's that has no effect here, so that scripts
// go on working. bare is what the flag without a value means; empty for one that
// needs a value.
func ignored(flags *pflag.FlagSet, name, bare string) {
	flags.String(name, "", "Accepted for compatibility; without effect.")
	f := flags.Lookup(name)
	f.Hidden, f.NoOptDefVal = true, bare
}

// Name is how the user calls the program, such as "kubectl velero".
func (f *Factory) Name() string { return f.name }

// Namespace is where Velero's objects live: the flag, else the client config
// file's, else $VELERO_NAMESPACE, else velero. An unreadable config file is
// reported on ErrOut and counts as empty.
func (f *Factory) Namespace() string {
	if f.namespace != "" {
		return f.namespace
	}
	config, err := readClientConfig()
	if err != nil {
		f.warn("%v", err)
	}
	if config.Namespace != "" {
		return config.Namespace
	}
	if env := os.Getenv("VELERO_NAMESPACE"); env != "" {
		return env
	}
	return "velero"
}

// RESTConfig is the cluster to talk to, with client-side throttling off: the
// API server's own fairness decides. A missing or broken kubeconfig is an error
// with a hint.
func (f *Factory) RESTConfig() (*rest.Config, error) {
	if f.kubecontext != "" {
		f.config.Context = &f.kubecontext
	}
	cfg, err := f.config.ToRESTConfig()
	if err != nil {
		return nil, configError(err)
	}
	if f.nowhere(cfg) {
		return nil, errNoKubeconfig
	}
	cfg = rest.CopyConfig(cfg)
	cfg.QPS = -1
	cfg.UserAgent = version.UserAgent()
	cfg.WarningHandler = rest.NewWarningWriter(f.ErrOut, rest.WarningWriterOptions{Deduplicate: true})
	return cfg, nil
}

// nowhere reports whether cfg is only the address that kubectl falls back to
// when there is no kubeconfig at all.
func (f *Factory) nowhere(cfg *rest.Config) bool {
	raw, err := f.config.ToRawKubeConfigLoader().RawConfig()
	return err == nil && clientcmdapi.IsConfigEmpty(&raw) && *f.config.APIServer == "" && strings.HasPrefix(cfg.Host, "http://localhost")
}

// Kubernetes is a client of the cluster's built-in kinds.
func (f *Factory) Kubernetes() (kubernetes.Interface, error) {
	cfg, err := f.RESTConfig()
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(cfg)
}

// Velero is a client of the kinds of velero.io.
func (f *Factory) Velero() (*client.Client, error) {
	cfg, err := f.RESTConfig()
	if err != nil {
		return nil, err
	}
	return client.New(cfg)
}

// Dynamic is a client of any kind.
func (f *Factory) Dynamic() (dynamic.Interface, error) {
	cfg, err := f.RESTConfig()
	if err != nil {
		return nil, err
	}
	return dynamic.NewForConfig(cfg)
}

// warn tells the user something that doesn't stop the command.
func (f *Factory) warn(format string, args ...any) {
	fmt.Fprintln(f.ErrOut, asText("warning: "+fmt.Sprintf(format, args...)))
}

// canDraw reports whether stream is a terminal that knows its size, which a
// progress bar needs.
func canDraw(stream any) bool {
	file, ok := stream.(*os.File)
	if !ok || !isTerminal(stream) {
		return false
	}
	width, _, err := term.GetSize(int(file.Fd()))
	return err == nil && width > 0
}

// isTerminal reports whether stream, one of the Factory's, is a terminal.
func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
