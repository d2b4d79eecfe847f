package main

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"
)

const (
	// mixVersion changes with the objects, so that kept clusters are loaded anew.
	mixVersion = 1
	// perNamespace is how many objects of the mix a namespace holds.
	perNamespace = 100
	// namespacePrefix begins the name of every namespace that is loaded.
	namespacePrefix = "bench-"
	secretSize      = 1 << 20
)

// share is one kind's part of a namespace of the mix.
type share struct {
	count  int
	create func(ctx context.Context, kube kubernetes.Interface, at place) error
}

// mix is what a namespace holds; the counts add up to perNamespace.
var mix = []share{
	{40, createConfigMap},
	{30, createSecret},
	{10, createRole},
	{10, createRoleBinding},
	{5, createService},
	{5, createDeployment},
}

// place says which object it is. Its text is made from its number alone, so
// every cluster of a size holds the same.
type place struct {
	namespace string
	name      string
	text      *text
}

func (p place) meta() metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: p.namespace, Name: p.name,
		Labels: map[string]string{
			"app.kubernetes.io/name": p.text.word(), "app.kubernetes.io/instance": p.name,
			"app.kubernetes.io/part-of": p.namespace, "app.kubernetes.io/managed-by": "Helm",
		},
		Annotations: map[string]string{
			"meta.helm.sh/release-name": p.name, "meta.helm.sh/release-namespace": p.namespace,
			"checksum/config": p.text.hex(64),
		},
	}
}

func (s dataSet) namespaces() []string {
	if s.secrets > 0 {
		return []string{namespacePrefix + "secrets"}
	}
	names := make([]string, s.objects/perNamespace)
	for n := range names {
		names[n] = mixNamespace(n)
	}
	return names
}

func mixNamespace(n int) string { return fmt.Sprintf("%s%04d", namespacePrefix, n) }

// create makes the nth object.
func (s dataSet) create(ctx context.Context, kube kubernetes.Interface, n int) error {
	if s.secrets > 0 {
		at := place{namespace: namespacePrefix + "secrets", name: fmt.Sprintf("large-%04d", n), text: newText(n)}
		return createLargeSecret(ctx, kube, at)
	}
	at := place{namespace: mixNamespace(n / perNamespace), text: newText(n)}
	rest := n % perNamespace
	for _, part := range mix {
		if rest < part.count {
			at.name = fmt.Sprintf("%s-%02d", at.text.word(), rest)
			return part.create(ctx, kube, at)
		}
		rest -= part.count
	}
	return fmt.Errorf("object %d: the mix has only %d objects", n, perNamespace)
}

func createConfigMap(ctx context.Context, kube kubernetes.Interface, at place) error {
	_, err := kube.CoreV1().ConfigMaps(at.namespace).Create(ctx, &corev1.ConfigMap{
		ObjectMeta: at.meta(),
		Data:       map[string]string{"application.yaml": at.text.config(2 << 10)},
	}, metav1.CreateOptions{})
	return err
}

func createSecret(ctx context.Context, kube kubernetes.Interface, at place) error {
	_, err := kube.CoreV1().Secrets(at.namespace).Create(ctx, &corev1.Secret{
		ObjectMeta: at.meta(), Type: corev1.SecretTypeOpaque,
		Data: map[string][]byte{
			"username": []byte(at.text.word()), "password": at.text.bytes(24),
			"url": []byte("postgresql://" + at.text.host() + ":5432/" + at.text.word()), "token": at.text.bytes(256),
		},
	}, metav1.CreateOptions{})
	return err
}

func createLargeSecret(ctx context.Context, kube kubernetes.Interface, at place) error {
	const key = "release"
	_, err := kube.CoreV1().Secrets(at.namespace).Create(ctx, &corev1.Secret{
		ObjectMeta: at.meta(), Type: corev1.SecretTypeOpaque,
		Data: map[string][]byte{key: at.text.bytes(secretSize)},
	}, metav1.CreateOptions{})
	return err
}

func createRole(ctx context.Context, kube kubernetes.Interface, at place) error {
	_, err := kube.RbacV1().Roles(at.namespace).Create(ctx, &rbacv1.Role{
		ObjectMeta: at.meta(),
		Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"pods", "services", "endpoints"}, Verbs: []string{"get", "list", "watch"}},
			{APIGroups: []string{"apps"}, Resources: []string{"deployments", "replicasets"}, Verbs: []string{"get", "list", "watch", "patch"}},
			{APIGroups: []string{""}, Resources: []string{"configmaps"}, ResourceNames: []string{at.name}, Verbs: []string{"get", "update"}},
		},
	}, metav1.CreateOptions{})
	return err
}

func createRoleBinding(ctx context.Context, kube kubernetes.Interface, at place) error {
	_, err := kube.RbacV1().RoleBindings(at.namespace).Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: at.meta(),
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: at.name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: at.text.word(), Namespace: at.namespace}},
	}, metav1.CreateOptions{})
	return err
}

func createService(ctx context.Context, kube kubernetes.Interface, at place) error {
	_, err := kube.CoreV1().Services(at.namespace).Create(ctx, &corev1.Service{
		ObjectMeta: at.meta(),
		Spec: corev1.ServiceSpec{
			ClusterIP: corev1.ClusterIPNone,
			Selector:  map[string]string{"app.kubernetes.io/instance": at.name},
			Ports: []corev1.ServicePort{
				{Name: "http", Port: 80, TargetPort: intstr.FromString("http")},
				{Name: "metrics", Port: 9090, TargetPort: intstr.FromInt32(9090)},
			},
		},
	}, metav1.CreateOptions{})
	return err
}

func createDeployment(ctx context.Context, kube kubernetes.Interface, at place) error {
	meta := at.meta()
	_, err := kube.AppsV1().Deployments(at.namespace).Create(ctx, &appsv1.Deployment{
		ObjectMeta: meta,
		Spec: appsv1.DeploymentSpec{
			Replicas: ptr.To(int32(0)),
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app.kubernetes.io/instance": at.name}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: meta.Labels, Annotations: meta.Annotations},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{container(at)}},
			},
		},
	}, metav1.CreateOptions{})
	return err
}

func container(at place) corev1.Container {
	probe := &corev1.Probe{
		ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/healthz", Port: intstr.FromString("http")}},
		PeriodSeconds: 10,
	}
	c := corev1.Container{
		Name: "app", Image: "registry." + at.text.host() + "/" + at.text.word() + "@sha256:" + at.text.hex(64),
		Ports:          []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}},
		ReadinessProbe: probe, LivenessProbe: probe.DeepCopy(),
		Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("128Mi")},
			Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("256Mi")},
		},
	}
	for n := range 6 {
		c.Env = append(c.Env, corev1.EnvVar{Name: fmt.Sprintf("SETTING_%d", n), Value: at.text.host()})
	}
	return c
}
