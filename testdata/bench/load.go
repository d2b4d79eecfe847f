package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// loaders is how many requests load the cluster at once.
const loaders = 24

// loaded is what the state folder remembers of a kept cluster.
type loaded struct {
	// Mix is the version of the objects.
	Mix int `json:"mix"`
}

// load creates the data set, unless a kept cluster has it. What a run that was
// killed has created is taken as it is.
func (b *bed) load(ctx context.Context) error {
	file := filepath.Join(b.folder, "loaded.json")
	body, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var before loaded
	if err == nil && json.Unmarshal(body, &before) == nil && before.Mix == mixVersion {
		b.kept = true
		progress("%s are there already", b.set.title())
		return nil
	}
	begin := time.Now()
	if err := b.createAll(ctx); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	took := time.Since(begin)
	progress("%s loaded in %s, %.0f per second", b.set.title(), took.Round(time.Second), float64(b.set.size())/took.Seconds())
	body, err = json.Marshal(loaded{Mix: mixVersion})
	if err != nil {
		return err
	}
	b.kept = true
	return os.WriteFile(file, body, 0o644)
}

func (b *bed) createAll(ctx context.Context) error {
	cfg := rest.CopyConfig(b.admin)
	cfg.ContentType = runtime.ContentTypeProtobuf
	kube, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return err
	}
	for _, name := range b.set.namespaces() {
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		_, err := kube.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(loaders)
	for n := range b.set.size() {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			err := b.set.create(ctx, kube, n)
			if apierrors.IsAlreadyExists(err) {
				return nil
			}
			return err
		})
	}
	return group.Wait()
}
