//! The labs that the command line knows. A new lab is one line here.

use chatlab_kit::lab::Lab;

/// All labs, in the order in which to do them.
pub fn all() -> Vec<&'static dyn Lab> {
    vec![
        &chatlab_sessions::LAB,
        &chatlab_presence::LAB,
        &chatlab_history::LAB,
        &chatlab_audit::LAB,
        &chatlab_ratelimit::LAB,
        &chatlab_pubsub::LAB,
        &chatlab_pipelining::LAB,
        &chatlab_cluster::LAB,
    ]
}

/// The lab with that id.
pub fn find(id: &str) -> Option<&'static dyn Lab> {
    all().into_iter().find(|lab| lab.id() == id)
}

/// The lab with that id, or an error that names those there are.
///
/// # Errors
/// When there is none.
pub fn named(id: &str) -> anyhow::Result<&'static dyn Lab> {
    find(id).ok_or_else(|| {
        let known: Vec<_> = all().iter().map(|lab| lab.id()).collect();
        anyhow::anyhow!("there is no lab `{id}`; there are: {}", known.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lab_keeps_the_rules_and_has_an_id_of_its_own() {
        let mut ids = std::collections::HashSet::new();
        for lab in all() {
            chatlab_kit::lab::audit(lab).unwrap();
            assert!(ids.insert(lab.id()));
        }
    }
}
