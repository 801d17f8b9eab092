//! What the status channel says of a program's end (`k8s.io/apimachinery/pkg/util/remotecommand`).

use kube::core::Status;
use kube::core::response::StatusSummary;

/// The `reason` of the cause that has the exit code as its message.
const EXIT_CODE: &str = "ExitCode";

/// The `reason` of a status with such a cause.
const NON_ZERO: &str = "NonZeroExitCode";

/// The program's exit code; none where it did not run to its end.
pub(super) fn exit_code(status: &Status) -> Option<i32> {
    if status.status == Some(StatusSummary::Success) {
        return Some(0);
    }
    if status.reason != NON_ZERO {
        return None;
    }
    let causes = status.details.as_ref()?.causes.iter();
    causes
        .filter(|cause| cause.reason == EXIT_CODE)
        .find_map(|cause| cause.message.parse().ok())
}
