package transform

import admissionv1 "k8s.io/api/admissionregistration/v1"

// webhookConfiguration makes side effects of webhooks what v1 accepts, which
// knows only two of the four values of v1beta1.
func webhookConfiguration(_ *Options, obj *Object) (Decision, error) {
	if obj.GroupVersionKind().Version != "v1" {
		return Decision{}, nil
	}
	webhooks, err := obj.EditList("webhooks")
	if err != nil {
		return Decision{}, err
	}
	for _, webhook := range elements(webhooks) {
		switch admissionv1.SideEffectClass(text(webhook, "sideEffects")) {
		case admissionv1.SideEffectClassNone, admissionv1.SideEffectClassNoneOnDryRun:
		default:
			webhook["sideEffects"] = string(admissionv1.SideEffectClassNone)
		}
	}
	return Decision{}, nil
}
