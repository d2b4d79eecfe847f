package v1

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// AnnotatedList reads an annotation that holds a list separated by commas, with or
// without spaces around its elements; nil when the annotation is missing or empty.
func AnnotatedList(obj metav1.Object, key string) []string {
	text := obj.GetAnnotations()[key]
	if text == "" {
		return nil
	}
	elements := strings.Split(text, ",")
	for i, element := range elements {
		elements[i] = strings.TrimSpace(element)
	}
	return elements
}
