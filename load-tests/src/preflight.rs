//! Before a run: are there descriptors and ports enough? Better one clear message now than
//! half the connections failing later.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that a process needs beside its connections: runtime, files, pipes.
pub const SPARE_DESCRIPTORS: u64 = 128;
/// Connections from one source address, well below the ephemeral range of about 28,000 ports,
/// some of which may still be in TIME_WAIT from the run before.
pub const CONNECTIONS_PER_ADDRESS: usize = 10_000;
/// The most source addresses: 127.0.0.2 to 127.0.0.251.
pub const MAX_ADDRESSES: usize = 250;

/// Why a run can't start here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PreflightError {
    /// The hard limit of open files is too low.
    #[error(
        "{needed} open files are needed for this run, and the hard limit is {hard}: raise it \
         (`ulimit -Hn {needed}` as root, or `LimitNOFILE=` of the service), or ask for fewer connections"
    )]
    Descriptors {
        /// What the run needs.
        needed: u64,
        /// What the system allows.
        hard: u64,
    },
    /// More connections than source ports.
    #[error("{connections} connections need more than {MAX_ADDRESSES} source addresses: ask for fewer")]
    Ports {
        /// What was asked for.
        connections: usize,
    },
}

/// What a run has at its disposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resources {
    /// The limit of open files now, after raising it.
    pub nofile: u64,
    /// How many source addresses the connections are spread over; 1 means the system chooses.
    pub addresses: usize,
}

/// Raises the soft limit of open files to the hard one, and checks it against the connections.
///
/// # Errors
/// [`PreflightError`] says what is missing and what to do.
pub fn preflight(connections: usize) -> Result<Resources, PreflightError> {
    let addresses = connections.div_ceil(CONNECTIONS_PER_ADDRESS).max(1);
    if addresses > MAX_ADDRESSES {
        return Err(PreflightError::Ports { connections });
    }
    let needed = connections as u64 + SPARE_DESCRIPTORS;
    let nofile = raise_nofile();
    if nofile < needed {
        return Err(PreflightError::Descriptors { needed, hard: nofile });
    }
    Ok(Resources { nofile, addresses })
}

/// Raises the soft limit of open files as far as it goes; returns what it is then.
pub fn raise_nofile() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // An unlimited hard limit is not a number the kernel takes for files.
    let wanted = maximum.unwrap_or(1 << 20);
    if current.is_some_and(|now| now < wanted) {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum });
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_run_is_allowed_from_one_address() {
        let resources = preflight(10).unwrap();
        assert_eq!(resources.addresses, 1);
        assert!(resources.nofile >= 138);
    }

    #[test]
    fn too_much_is_refused_with_what_to_do() {
        assert_eq!(preflight(3_000_000), Err(PreflightError::Ports { connections: 3_000_000 }));
        let text = PreflightError::Descriptors { needed: 50_128, hard: 20_000 }.to_string();
        assert!(text.contains("50128") && text.contains("ulimit -Hn"), "{text}");
    }
}
