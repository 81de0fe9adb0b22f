//! How far each lab is, and the one thing to do now.

use chatlab_kit::lab::{Lab, Manifest};
use serde::Serialize;

use super::progress::{CODE, LabProgress, Progress};

/// How far a lab is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// Whether the lesson was opened.
    pub read: bool,
    /// Console steps passed.
    pub steps_done: usize,
    /// Console steps there are.
    pub steps: usize,
    /// Whether the exercise has passed its checks.
    pub code_passed: bool,
    /// How often it was checked.
    pub code_checks: u64,
    /// Whether the reference was looked at before.
    pub code_surrendered: bool,
    /// Experiments run.
    pub experiments_run: usize,
    /// Experiments there are.
    pub experiments: usize,
    /// Predictions made.
    pub predicted: usize,
    /// Predictions there are.
    pub predictions: usize,
}

impl Standing {
    /// Of a lab and what was done in it. Ids that the lab no longer has do not count.
    pub fn of(lab: &dyn Lab, manifest: &Manifest, progress: &LabProgress) -> Self {
        let experiments = lab.experiments();
        Self {
            read: progress.read_ms.is_some(),
            steps_done: manifest.steps.iter().filter(|s| progress.steps.contains_key(&s.id)).count(),
            steps: manifest.steps.len(),
            code_passed: progress.code.passed_ms.is_some(),
            code_checks: progress.code.checks,
            code_surrendered: progress.surrendered.contains_key(CODE),
            experiments_run: experiments.iter().filter(|e| progress.experiments.contains_key(e.name)).count(),
            experiments: experiments.len(),
            predicted: manifest
                .predictions
                .iter()
                .filter(|p| progress.predictions.contains_key(&p.id))
                .count(),
            predictions: manifest.predictions.len(),
        }
    }

    /// What is done, and what there is to do: the lesson, each step, the exercise, each experiment.
    pub fn parts(&self) -> (usize, usize) {
        let done =
            usize::from(self.read) + self.steps_done + usize::from(self.code_passed) + self.experiments_run;
        (done, 2 + self.steps + self.experiments)
    }

    /// Whether everything is done.
    pub fn finished(&self) -> bool {
        let (done, all) = self.parts();
        done == all
    }

    /// Whether anything is.
    pub fn begun(&self) -> bool {
        self.parts().0 > 0 || self.code_checks > 0
    }
}

/// The one thing to do now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Next {
    /// The lab; none when all are finished.
    pub lab: Option<String>,
    /// What to do, in a sentence.
    pub what: String,
    /// What to type.
    pub command: String,
}

/// The one thing to do now: in the first unfinished lab whose prerequisites are passed, the lesson, then the console track, then
/// the exercise, then the experiments.
///
/// # Errors
/// When a `lab.toml` is broken.
pub fn next(labs: &[&'static dyn Lab], progress: &Progress) -> Result<Next, String> {
    let mut waiting = None;
    for lab in labs {
        let manifest = lab.manifest()?;
        let done = progress.lab(lab.id());
        let standing = Standing::of(*lab, &manifest, &done);
        if standing.finished() {
            continue;
        }
        let ready = manifest.prerequisites.iter().all(|id| is_enough(labs, id, progress));
        let next = in_lab(*lab, &manifest, &done, &standing);
        if ready {
            return Ok(next);
        }
        waiting.get_or_insert(next);
    }
    Ok(waiting.unwrap_or_else(|| Next {
        lab: None,
        what: "Every lab is done. Run the live server with a variant of yours and load it.".to_owned(),
        command: "chatlab play sessions".to_owned(),
    }))
}

/// Whether a prerequisite is done well enough to go on: its steps and its exercise, or it is no lab of this build.
fn is_enough(labs: &[&'static dyn Lab], id: &str, progress: &Progress) -> bool {
    let Some(lab) = labs.iter().find(|lab| lab.id() == id) else { return true };
    let Ok(manifest) = lab.manifest() else { return true };
    let standing = Standing::of(*lab, &manifest, &progress.lab(id));
    standing.steps_done == standing.steps && (standing.code_passed || standing.code_surrendered)
}

fn in_lab(lab: &dyn Lab, manifest: &Manifest, done: &LabProgress, standing: &Standing) -> Next {
    let id = lab.id();
    let (what, command) = if !standing.read {
        (format!("Read the lesson of `{id}`: {}", lab.title()), format!("chatlab read {id}"))
    } else if let Some(step) = step_to_do(manifest, done) {
        let number = 1 + manifest.steps.iter().position(|s| s.id == step).unwrap_or(0);
        (
            format!("Step {number} of {} at the console of `{id}`: {step}", standing.steps),
            format!("chatlab console {id}"),
        )
    } else if !standing.code_passed && done.code.failing.is_some() {
        let failing = done.code.failing.as_ref().map_or("", |f| f.predicate.as_str());
        (
            format!("Go on with labs/{id}/src/exercise.rs; what failed last: {failing}"),
            format!("chatlab check {id}"),
        )
    } else if !standing.code_passed {
        (
            format!("Write the exercise, labs/{id}/src/exercise.rs; it is checked whenever you save it"),
            format!("chatlab watch {id}"),
        )
    } else {
        let open = lab.experiments().iter().find(|e| !done.experiments.contains_key(e.name));
        let name = open.map_or("", |e| e.name);
        (
            format!("Predict, run and explain the experiment `{name}`"),
            format!("chatlab experiment {id} {name}"),
        )
    };
    Next { lab: Some(id.to_owned()), what, command }
}

/// The console step to go on with: the one under way, else the first that was not passed.
pub fn step_to_do(manifest: &Manifest, done: &LabProgress) -> Option<String> {
    let is_open = |id: &&String| !done.steps.contains_key(*id);
    let known = |id: &&String| manifest.steps.iter().any(|step| step.id == **id);
    let under_way = done.at_step.as_ref().filter(is_open).filter(known);
    under_way.or_else(|| manifest.steps.iter().map(|step| &step.id).find(is_open)).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lab_goes_from_the_lesson_over_the_console_and_the_exercise_to_the_experiments() {
        let labs = [crate::labs::named("sessions").unwrap()];
        let manifest = labs[0].manifest().unwrap();
        let mut progress = Progress::default();
        let command = |progress: &Progress| next(&labs, progress).unwrap().command;
        assert_eq!(command(&progress), "chatlab read sessions");
        progress.lab_mut("sessions").read();
        assert_eq!(command(&progress), "chatlab console sessions");
        for step in &manifest.steps {
            progress.lab_mut("sessions").passed_step(&step.id, 1, 1);
        }
        assert_eq!(command(&progress), "chatlab watch sessions");
        progress.lab_mut("sessions").checked(None);
        for experiment in labs[0].experiments() {
            assert_eq!(command(&progress), format!("chatlab experiment sessions {}", experiment.name));
            progress.lab_mut("sessions").ran(experiment.name);
        }
        assert_eq!(next(&labs, &progress).unwrap().lab, None);
        let standing = Standing::of(labs[0], &manifest, &progress.lab("sessions"));
        assert!(standing.finished() && standing.begun());
    }

    #[test]
    fn the_step_under_way_comes_first() {
        let manifest = crate::labs::named("sessions").unwrap().manifest().unwrap();
        let first = manifest.steps[0].id.clone();
        let third = manifest.steps[2].id.clone();
        let mut done = LabProgress { at_step: Some(third.clone()), ..LabProgress::default() };
        assert_eq!(step_to_do(&manifest, &done), Some(third.clone()));
        done.passed_step(&third, 1, 1);
        assert_eq!(step_to_do(&manifest, &done), Some(first.clone()));
        done.at_step = Some("gone".to_owned());
        assert_eq!(step_to_do(&manifest, &done), Some(first));
    }
}
