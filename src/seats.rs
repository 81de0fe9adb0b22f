//! The seats of the labs in the server: which variants were chosen, checked before anything is built.

use chatlab_kit::lab::{Lab, Variant};

use crate::{
    config::{Choice, Variants},
    labs,
};

/// A variant that is to take its lab's seat.
#[derive(Clone, Copy)]
pub struct Seated {
    /// The lab.
    pub lab: &'static dyn Lab,
    /// The variant.
    pub variant: &'static Variant,
}

/// What the choices name.
///
/// # Errors
/// For a lab or a variant that does not exist, and for a lab without a seat; with what there is.
pub fn all(variants: &Variants) -> anyhow::Result<Vec<Seated>> {
    variants.choices().map(|choice| one(&choice)).collect()
}

/// What one choice names.
///
/// # Errors
/// As [`all`].
pub fn one(choice: &Choice) -> anyhow::Result<Seated> {
    let lab = with_seat(&choice.lab)?;
    let variant = variant_of(lab, &choice.variant)?;
    Ok(Seated { lab, variant })
}

/// The lab of that id, if the server runs one of its variants.
///
/// # Errors
/// With the labs that have a seat.
pub fn with_seat(id: &str) -> anyhow::Result<&'static dyn Lab> {
    let lab = labs::named(id)?;
    if lab.seat().is_some() {
        return Ok(lab);
    }
    let seats: Vec<_> = labs::all().iter().filter(|lab| lab.seat().is_some()).map(|lab| lab.id()).collect();
    anyhow::bail!(
        "the server runs no variant of the lab `{id}`, which has no seat in it; these have: {}",
        seats.join(", ")
    )
}

/// The variant of that name.
///
/// # Errors
/// With the names that there are.
pub fn variant_of(lab: &'static dyn Lab, name: &str) -> anyhow::Result<&'static Variant> {
    lab.variant(name).ok_or_else(|| {
        let known: Vec<_> = lab.variants().iter().map(|variant| variant.name).collect();
        anyhow::anyhow!("the lab `{}` has no variant `{name}`; there are: {}", lab.id(), known.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_choices_are_told_what_there_is() {
        for (choice, named) in [("nothing=x", "sessions"), ("sessions=nothing", "hash_index")] {
            let error = one(&choice.parse().unwrap()).err().unwrap().to_string();
            assert!(error.contains(named), "{error}");
        }
        let seated = one(&"sessions=user_hash".parse().unwrap()).unwrap();
        assert_eq!((seated.lab.id(), seated.variant.name), ("sessions", "user_hash"));
    }

    #[test]
    fn a_lab_without_a_seat_is_refused_with_those_that_have_one() {
        for lab in labs::all().into_iter().filter(|lab| lab.seat().is_none()) {
            let choice = Choice { lab: lab.id().to_owned(), variant: lab.variants()[0].name.to_owned() };
            let error = one(&choice).err().unwrap().to_string();
            assert!(error.contains("no seat") && error.contains("sessions"), "{error}");
        }
    }
}
