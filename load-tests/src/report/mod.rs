//! Reports: for a terminal, and as one HTML file that needs nothing else.
//!
//! | | for |
//! | --- | --- |
//! | [`terminal`], [`head`], [`side_by_side`] | runs, in at most [`WIDTH`] columns |
//! | [`run_page`], [`compare_page`], [`knee_page`], [`matrix_page`] | HTML: no script, nothing from elsewhere |
//! | [`folder`] | the report of a folder, from its recorded files alone |

mod chart;
mod folder;
mod html;
mod pages;
mod recorded;
mod slow;
mod svg;
mod terminal;
#[cfg(test)]
mod tests;
mod timeline;

pub use folder::{Report, ReportError, folder};
pub use pages::{
    compared::page as compare_page, knee::page as knee_page, matrix::page as matrix_page,
    run::page as run_page,
};
pub use terminal::{WIDTH, head, side_by_side, terminal};
pub use timeline::{Fault, Second, Timeline};

pub(crate) use terminal::{clip, wrap};
