package testenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	definitions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset/typed/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"
)

// csiControllers are what the drivers at one API server share.
type csiControllers struct {
	kubeconfig string
	state      string // the test-bed's state folder
	bin        string // the driver's and the sidecars' folder
	folder     string

	mu        sync.Mutex
	snapshots *serverProcess // snapshot-controller
	volumes   *serverProcess // Kubernetes' controllers of volumes, nil if nobody asked for them
}

// csiControllers returns those of an API server, started.
func (s *servers) csiControllers(ctx context.Context, kubeconfig string, config *rest.Config, volumes bool) (*csiControllers, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.csi[kubeconfig]
	if c == nil {
		var err error
		if c, err = newCSIControllers(ctx, kubeconfig, config); err != nil {
			return nil, err
		}
		// Remembered before they run, to be stopped whatever happens.
		s.csi[kubeconfig] = c
	}
	return c, c.start(ctx, volumes)
}

func newCSIControllers(ctx context.Context, kubeconfig string, config *rest.Config) (*csiControllers, error) {
	state, err := StateFolder()
	if err != nil {
		return nil, err
	}
	if err := csiBuild(ctx, state); err != nil {
		return nil, err
	}
	bin := filepath.Join(state, "bin", "csi")
	if err := defineSnapshots(ctx, config, filepath.Join(bin, "definitions")); err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "csi-controllers-")
	return &csiControllers{kubeconfig: kubeconfig, state: state, bin: bin, folder: folder}, err
}

// csiBuild makes the driver, the sidecars and the definitions, once.
func csiBuild(ctx context.Context, state string) error {
	binary, err := clusterTool(ctx)
	if err != nil {
		return err
	}
	unlock, err := lock(filepath.Join(state, "bin", ".cluster-build.lock"))
	if err != nil {
		return err
	}
	defer unlock()
	// A tool that an earlier version built doesn't know --csi: this brings it up
	// to date.
	if _, err := runCluster(ctx, binary, "build", "--mode", "api"); err != nil {
		return err
	}
	_, err = runCluster(ctx, binary, "build", "--mode", "api", "--csi")
	return err
}

// start starts what doesn't run yet.
func (c *csiControllers) start(ctx context.Context, volumes bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.startSnapshots(ctx); err != nil {
		return err
	}
	if !volumes || c.volumes != nil {
		return nil
	}
	var err error
	c.volumes, err = c.program("kube-controller-manager", filepath.Join(c.state, "bin", "kube-controller-manager"),
		"--kubeconfig="+c.kubeconfig, "--leader-elect=false", "--secure-port=0", "--kube-api-qps=200", "--kube-api-burst=400",
		"--controllers=persistentvolume-binder-controller,persistentvolumeclaim-protection-controller,persistentvolume-protection-controller",
		"--pvclaimbinder-sync-period=1s", "--flex-volume-plugin-dir="+filepath.Join(c.folder, "plugins"),
	).start(ctx)
	return err
}

// startSnapshots starts snapshot-controller unless it runs. The lock is held.
func (c *csiControllers) startSnapshots(ctx context.Context) (err error) {
	if c.snapshots == nil {
		c.snapshots, err = c.program("snapshot-controller", filepath.Join(c.bin, "snapshot-controller"),
			append(sidecarFlags(c.kubeconfig), "--leader-election=false")...).start(ctx)
	}
	return err
}

func (c *csiControllers) program(name, path string, args ...string) serverCommand {
	return serverCommand{
		name: name, program: path, args: args, root: c.folder, listen: c.kubeconfig, ready: csiReady,
		answers: func(context.Context) error { return nil }, // it listens nowhere
	}
}

func (c *csiControllers) restart(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.snapshots.Kill(); err != nil {
		return err
	}
	c.snapshots = nil
	return c.startSnapshots(ctx)
}

// processes lists what runs.
func (c *csiControllers) processes() []*serverProcess {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []*serverProcess
	for _, p := range []*serverProcess{c.snapshots, c.volumes} {
		if p != nil {
			all = append(all, p)
		}
	}
	return all
}

func (c *csiControllers) stop() error {
	var errs []error
	for _, p := range c.processes() {
		errs = append(errs, p.Stop())
	}
	return errors.Join(append(errs, os.RemoveAll(c.folder))...)
}

// defineSnapshots makes the API server serve the snapshot API.
func defineSnapshots(ctx context.Context, config *rest.Config, folder string) error {
	client, err := definitions.NewForConfig(config)
	if err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil {
		return err
	}
	var names []string
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var definition apiextensions.CustomResourceDefinition
		if err := yaml.Unmarshal(body, &definition); err != nil {
			return fmt.Errorf("read %s: %w", file, err)
		}
		definition.Status = apiextensions.CustomResourceDefinitionStatus{}
		_, err = client.CustomResourceDefinitions().Create(ctx, &definition, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
		names = append(names, definition.Name)
	}
	return waitServed(ctx, client, names)
}

func waitServed(ctx context.Context, client definitions.CustomResourceDefinitionsGetter, names []string) error {
	ctx, cancel := context.WithTimeout(ctx, csiReady)
	defer cancel()
	for _, name := range names {
		for {
			definition, err := client.CustomResourceDefinitions().Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			if established(definition) {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("wait until %s is served: %w", name, ctx.Err())
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	return nil
}

func established(definition *apiextensions.CustomResourceDefinition) bool {
	for _, condition := range definition.Status.Conditions {
		if condition.Type == apiextensions.Established {
			return condition.Status == apiextensions.ConditionTrue
		}
	}
	return false
}
