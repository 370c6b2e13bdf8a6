//! What the operators' page shows, as HTML: the page is made of it, and the
//! stream that keeps the page current sends the same pieces again.

mod plot;
mod view;

pub(crate) use view::{Page, Parts, anomaly};
