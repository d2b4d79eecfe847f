package csi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	"github.com/kubernetes-csi/external-snapshotter/client/v8/clientset/versioned"
	typedv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/clientset/versioned/typed/volumesnapshot/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Client works with the snapshot API of one cluster. It is safe for concurrent use.
type Client struct {
	log       *slog.Logger
	core      kubernetes.Interface
	snapshots versioned.Interface
	// objects are those of groups, whose API has several versions alike.
	objects   dynamic.Interface
	discovery discovery.DiscoveryInterface

	// patience is how long snapshots that are to be removed may take to go.
	patience time.Duration
	// temporaries are the temporary contents that are at work, by name.
	temporaries turns
}

// NewClient connects to the cluster. It sends no request.
func NewClient(config *rest.Config, log *slog.Logger) (*Client, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1 // the API server's own fairness decides
	core, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connect to the cluster: %w", err)
	}
	snapshots, err := versioned.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connect to the cluster: %w", err)
	}
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connect to the cluster: %w", err)
	}
	return &Client{
		log: log, core: core, snapshots: snapshots, objects: objects, discovery: core.Discovery(),
		patience: 2 * time.Minute,
	}, nil
}

// Served reports whether the cluster serves the snapshot API.
func (c *Client) Served(ctx context.Context) (bool, error) {
	return c.served(ctx, snapshotv1.SchemeGroupVersion.String(), "volumesnapshots")
}

// served reports whether a resource of a group's version is served.
func (c *Client) served(ctx context.Context, groupVersion, resource string) (bool, error) {
	var list *metav1.APIResourceList
	err := retry(ctx, func() (err error) {
		list, err = c.discovery.ServerResourcesForGroupVersion(groupVersion)
		return err
	})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("discover API %s: %w", groupVersion, err)
	}
	for _, r := range list.APIResources {
		if r.Name == resource {
			return true, nil
		}
	}
	return false, nil
}

func (c *Client) contents() typedv1.VolumeSnapshotContentInterface {
	return c.snapshots.SnapshotV1().VolumeSnapshotContents()
}

func (c *Client) volumeSnapshots(namespace string) typedv1.VolumeSnapshotInterface {
	return c.snapshots.SnapshotV1().VolumeSnapshots(namespace)
}

// errNoUID keeps a selector from meaning every backup.
var errNoUID = errors.New("a backup without name or uid has no snapshots")
