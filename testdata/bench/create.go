package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	// createCommand is the floor of restores as a process.
	createCommand = "create"
	// floorGCPercent keeps the collector from walking all the bodies that are in
	// memory while requests are timed.
	floorGCPercent = 400
	// applier is the manager of objects that were applied.
	applier = "bench-applier"
)

// item is one object to create.
type item struct {
	Resource schema.GroupVersionResource `json:"resource"`
	// Body has nothing of a former life.
	Body json.RawMessage `json:"body"`
	// ManagedFields are given back with a second write; none needs no second.
	ManagedFields json.RawMessage `json:"managedFields,omitempty"`
}

// createTask is what the floor of restores reads from its stdin.
type createTask struct {
	Kubeconfig string `json:"kubeconfig"`
	// File has the items, one after another, namespaces first.
	File    string `json:"file"`
	Workers int    `json:"workers"`
	// Apply says that objects are applied on the server side.
	Apply bool `json:"apply"`
}

// createResult is what it writes to its stdout. The time is that of the
// requests alone: the bodies are in memory before.
type createResult struct {
	Seconds    float64 `json:"seconds"`
	CPUSeconds float64 `json:"cpuSeconds"`
	Objects    int     `json:"objects"`
}

func runCreate(ctx context.Context, args []string) error {
	if len(args) > 0 {
		return errors.New("the floor reads its task from stdin")
	}
	var task createTask
	if err := json.NewDecoder(os.Stdin).Decode(&task); err != nil {
		return fmt.Errorf("read the task: %w", err)
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", task.Kubeconfig)
	if err != nil {
		return err
	}
	cfg.QPS = -1
	cfg.WarningHandler = rest.NoWarnings{}
	c := &creator{createTask: task}
	if c.client, err = dynamic.NewForConfig(cfg); err != nil {
		return err
	}
	namespaces, others, err := readItems(task.File)
	if err != nil {
		return fmt.Errorf("read %s: %w", task.File, err)
	}
	debug.SetGCPercent(floorGCPercent)
	begin, used := time.Now(), cpuTime()
	if err := errors.Join(c.all(ctx, namespaces), c.all(ctx, others)); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(createResult{
		Seconds: time.Since(begin).Seconds(), CPUSeconds: (cpuTime() - used).Seconds(), Objects: len(namespaces) + len(others),
	})
}

// cpuTime is what this process has used so far, zero where that isn't known.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// decoded is an item ready to be sent.
type decoded struct {
	resource schema.GroupVersionResource
	object   *unstructured.Unstructured
	patch    []byte
}

func readItems(path string) (namespaces, others []decoded, _ error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	for lines := json.NewDecoder(bufio.NewReader(file)); ; {
		var next item
		err := lines.Decode(&next)
		if errors.Is(err, io.EOF) {
			return namespaces, others, nil
		}
		if err != nil {
			return nil, nil, err
		}
		d := decoded{resource: next.Resource, object: &unstructured.Unstructured{}}
		if err := d.object.UnmarshalJSON(next.Body); err != nil {
			return nil, nil, err
		}
		if next.ManagedFields != nil {
			d.patch = fmt.Appendf(nil, `{"metadata":{"managedFields":%s}}`, next.ManagedFields)
		}
		if d.resource == namespaceResource {
			namespaces = append(namespaces, d)
		} else {
			others = append(others, d)
		}
	}
}

type creator struct {
	createTask
	client dynamic.Interface
}

func (c *creator) all(ctx context.Context, items []decoded) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(c.Workers)
	for _, item := range items {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			if err := c.write(ctx, item); err != nil {
				return fmt.Errorf("%s %s/%s: %w", item.resource.Resource, item.object.GetNamespace(), item.object.GetName(), err)
			}
			return nil
		})
	}
	return group.Wait()
}

func (c *creator) write(ctx context.Context, item decoded) error {
	client := c.client.Resource(item.resource).Namespace(item.object.GetNamespace())
	name := item.object.GetName()
	if c.Apply {
		_, err := client.Apply(ctx, name, item.object, metav1.ApplyOptions{FieldManager: applier})
		return err
	}
	_, err := client.Create(ctx, item.object, metav1.CreateOptions{})
	if err != nil || item.patch == nil {
		return err
	}
	_, err = client.Patch(ctx, name, types.MergePatchType, item.patch, metav1.PatchOptions{})
	return err
}
