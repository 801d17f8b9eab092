//! What has to be there before what.

/// Groups and kinds in the order in which they are applied. Between the two halves comes every kind that is not here:
/// custom resources, whose controllers and definitions are above.
const FIRST: [(&str, &str); 34] = [
    ("", NAMESPACE),
    ("apiextensions.k8s.io", DEFINITION),
    ("scheduling.k8s.io", "PriorityClass"),
    ("storage.k8s.io", "StorageClass"),
    ("node.k8s.io", "RuntimeClass"),
    ("networking.k8s.io", "IngressClass"),
    ("", "ResourceQuota"),
    ("", "LimitRange"),
    ("networking.k8s.io", "NetworkPolicy"),
    ("", "ServiceAccount"),
    ("rbac.authorization.k8s.io", "ClusterRole"),
    ("rbac.authorization.k8s.io", "Role"),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
    ("rbac.authorization.k8s.io", "RoleBinding"),
    ("", "Secret"),
    ("", "ConfigMap"),
    ("", "PersistentVolume"),
    ("", "PersistentVolumeClaim"),
    ("", "Service"),
    ("", "Endpoints"),
    ("discovery.k8s.io", "EndpointSlice"),
    ("", "PodTemplate"),
    ("apps", "DaemonSet"),
    ("", "Pod"),
    ("", "ReplicationController"),
    ("apps", "ReplicaSet"),
    ("apps", "Deployment"),
    ("apps", "StatefulSet"),
    ("batch", "Job"),
    ("batch", "CronJob"),
    ("autoscaling", "HorizontalPodAutoscaler"),
    ("policy", "PodDisruptionBudget"),
    ("networking.k8s.io", "Ingress"),
    ("gateway.networking.k8s.io", "HTTPRoute"),
];

/// What judges or serves others: in place before what serves it, it would refuse that.
const LAST: [(&str, &str); 5] = [
    ("apiregistration.k8s.io", "APIService"),
    (ADMISSION, "ValidatingAdmissionPolicy"),
    (ADMISSION, "ValidatingAdmissionPolicyBinding"),
    (ADMISSION, "MutatingWebhookConfiguration"),
    (ADMISSION, "ValidatingWebhookConfiguration"),
];

const ADMISSION: &str = "admissionregistration.k8s.io";
const NAMESPACE: &str = "Namespace";
const DEFINITION: &str = "CustomResourceDefinition";

/// Lower ones first.
pub(super) fn rank(group: &str, kind: &str) -> usize {
    let find = |list: &[(&str, &str)]| list.iter().position(|entry| *entry == (group, kind));
    let last = || find(&LAST).map(|place| FIRST.len() + 1 + place);
    find(&FIRST).or_else(last).unwrap_or(FIRST.len())
}

/// Whether it is a namespace.
pub(super) fn is_namespace(group: &str, kind: &str) -> bool {
    group.is_empty() && kind == NAMESPACE
}

/// Whether it defines a kind.
pub(super) fn is_definition(group: &str, kind: &str) -> bool {
    group == "apiextensions.k8s.io" && kind == DEFINITION
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_comes_first() {
        let order = [
            rank("", "Namespace"),
            rank("apiextensions.k8s.io", "CustomResourceDefinition"),
            rank("", "ServiceAccount"),
            rank("rbac.authorization.k8s.io", "RoleBinding"),
            rank("", "ConfigMap"),
            rank("", "Service"),
            rank("apps", "Deployment"),
            rank("batch", "Job"),
            rank("autoscaling", "HorizontalPodAutoscaler"),
            rank("networking.k8s.io", "Ingress"),
            rank("example.com", "Deployment"),
            rank("apiregistration.k8s.io", "APIService"),
            rank(ADMISSION, "ValidatingWebhookConfiguration"),
        ];
        assert!(order.is_sorted_by(|a, b| a < b), "{order:?}");
    }
}
