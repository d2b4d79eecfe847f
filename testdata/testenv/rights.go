package testenv

import (
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// rightsKnown is how long an API server may take to know of new rights.
const rightsKnown = time.Minute

// AwaitRights waits until the API server grants a user what roles and bindings give
// it. It learns of them by a watch, a moment after they were made: a test that goes
// on at once is refused now and then. user is the configuration of a client of the
// user's.
func AwaitRights(tb testing.TB, user *rest.Config, rights ...authorizationv1.ResourceAttributes) {
	tb.Helper()
	kube, err := kubernetes.NewForConfig(user)
	if err != nil {
		tb.Fatal(err)
	}
	end := time.Now().Add(rightsKnown)
	for i := range rights {
		for !granted(tb, kube, &rights[i]) {
			if time.Now().After(end) {
				tb.Fatalf("after %s %q still may not %+v", rightsKnown, user.Impersonate.UserName, rights[i])
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
}

func granted(tb testing.TB, kube kubernetes.Interface, right *authorizationv1.ResourceAttributes) bool {
	tb.Helper()
	review, err := kube.AuthorizationV1().SelfSubjectAccessReviews().Create(tb.Context(), &authorizationv1.SelfSubjectAccessReview{
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: right},
	}, metav1.CreateOptions{})
	if err != nil {
		tb.Fatalf("ask for rights: %v", err)
	}
	return review.Status.Allowed
}
