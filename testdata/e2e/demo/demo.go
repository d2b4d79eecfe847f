// Package demo is the project's main job shown on a real cluster, as a tutorial:
// each step prints the commands that it runs. Everything is left up to play
// with until Clean.
package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/rest"

	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/compare"
	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/console"
	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/provider"
	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/storage"
	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/workspace"
)

// Options of Run and Clean.
type Options struct {
	Tree workspace.Tree
	// Provider says which cluster is used; its Tree and Out are those of here.
	Provider provider.Options
	// Out gets the tutorial.
	Out io.Writer
}

const (
	backupName = "shop"
	bucket     = "velero"
)

// demo is what the steps hand on to each other.
type demo struct {
	Options
	kept    record
	cluster *provider.Cluster
	console *console.Console
	config  *rest.Config
	images  images
	server  storage.Server
	before  compare.State
	// class is the StorageClass of the database's volume; empty where it has none.
	class string
}

// images are references as pods use them.
type images struct{ executor, app, store string }

// record is what Clean needs to know of the last Run.
type record struct {
	// Kind and Name are those of the provider.Cluster.
	Kind string `json:"kind"`
	Name string `json:"name"`
	// Kubeconfig is the value of KUBECONFIG.
	Kubeconfig string `json:"kubeconfig"`
}

// step is one chapter of the tutorial.
type step struct {
	title string
	run   func(*demo, context.Context) error
	// hint is what to do when the step fails.
	hint string
}

// steps is the plan.
func steps() []step {
	const clean = "start over with `make demo-clean demo`"
	return []step{
		{"find a cluster", (*demo).findCluster, "see the message; " + clean},
		{"build kubectl-velero and its executor image, load the image", (*demo).build, "`make build` shows the same error"},
		{"start an S3 server with a bucket", (*demo).startStorage, clean},
		{"install Velero without a server, and a sample application", (*demo).install, "look at it with the kubectl commands above; " + clean},
		{"back up", (*demo).backup, "`kubectl velero backup describe shop` and `kubectl velero backup logs shop` tell more"},
		{"disaster: delete the namespace and its volumes", (*demo).disaster, clean},
		{"restore", (*demo).restore, "`kubectl velero restore get` and `kubectl velero restore logs NAME` tell more"},
		{"compare the namespace with what it was", (*demo).compare, "what differs is a bug in the restore, or belongs on the list in testdata/e2e/compare/exceptions.yaml"},
	}
}

// Run carries out all steps. The error says which failed, why and what to do.
func Run(ctx context.Context, o Options) error {
	d := &demo{Options: o}
	started := time.Now()
	plan := steps()
	for i, s := range plan {
		fmt.Fprintf(o.Out, "\n== %d/%d: %s\n", i+1, len(plan), s.title)
		if err := s.run(d, ctx); err != nil {
			return stepError(ctx, i+1, s, d, err)
		}
	}
	fmt.Fprintf(o.Out, "\nDone in %s.\n", time.Since(started).Round(time.Second))
	d.whatNext()
	return nil
}

func stepError(ctx context.Context, number int, s step, d *demo, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("step %d, %s: interrupted\nhint: `make demo` goes on from any state, `make demo-clean` ends what was started", number, s.title)
	}
	environment := ""
	if d.cluster != nil {
		environment = "\nhint: " + d.environment()
	}
	return fmt.Errorf("step %d, %s: %w\nhint: %s%s", number, s.title, err, s.hint, environment)
}

// findCluster is step 1.
func (d *demo) findCluster(ctx context.Context) error {
	o := d.Provider
	o.Tree, o.Out, o.CSI = d.Tree, d.Out, true
	cluster, err := provider.Find(ctx, o)
	if err != nil {
		return err
	}
	d.cluster = cluster
	d.console = &console.Console{Dir: d.Tree.Root, Env: d.Tree.Env(cluster.Kubeconfig), Out: d.Out}
	d.kept = record{Kind: cluster.Kind, Name: cluster.Name, Kubeconfig: cluster.Kubeconfig}
	if err := d.kept.write(d.folder()); err != nil {
		return err
	}
	d.config, err = cluster.Config()
	if err != nil {
		return err
	}
	d.console.Say("Using %s.", cluster.Name)
	if err := d.console.Run(ctx, "kubectl", "get", "nodes"); err != nil {
		return err
	}
	return d.findClass(ctx)
}

// environment is what a person types to go on by hand.
func (d *demo) environment() string {
	return fmt.Sprintf("export KUBECONFIG=%s PATH=%s:%s:$PATH", d.cluster.Kubeconfig, d.Tree.Path("bin"), d.Tree.Bin())
}

func (d *demo) whatNext() {
	fmt.Fprintf(d.Out, `Everything is still up. To go on by hand:

  %s
  kubectl velero backup get
  kubectl velero backup describe shop --details
  kubectl velero backup logs shop
  kubectl velero restore create copy --from-backup shop --include-resources configmaps,secrets --namespace-mappings shop:shop-copy --wait
  kubectl velero schedule create often --schedule '*/5 * * * *' --include-namespaces shop --ttl 1h
  kubectl -n velero get jobs,cronjobs,pods     # nothing runs between operations

End all of it with: make demo-clean
`, d.environment())
}

// folder is where the demo on this cluster keeps its things.
func (o Options) folder() string { return filepath.Join(o.Tree.State, "demo", o.Provider.Name) }

func (r record) write(folder string) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "demo.json"), text, 0o644)
}

// readRecord returns an error that is os.ErrNotExist where there was no demo.
func readRecord(folder string) (record, error) {
	var kept record
	text, err := os.ReadFile(filepath.Join(folder, "demo.json"))
	if err != nil {
		return kept, err
	}
	if err := json.Unmarshal(text, &kept); err != nil {
		return kept, fmt.Errorf("read the record of the demo: %w", err)
	}
	if kept.Kubeconfig == "" {
		return kept, errors.New("read the record of the demo: no kubeconfig in it")
	}
	return kept, nil
}
