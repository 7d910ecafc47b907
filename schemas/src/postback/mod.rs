//! Publisher postbacks: whom to tell of a conversion and how, what a publisher may know of it, and
//! what became of telling it.

mod delivery;
mod destination;
mod message;
mod template;

pub use delivery::{
    DeliveryAttempt, DeliveryKind, DeliveryOrder, DeliveryOutcome, DeliveryProblem,
};
pub use destination::{
    Destination, Field, FixedHeader, PublisherPostback, RequestForm, RequestKind, Secret,
};
pub use message::{MACROS, PublisherMessage, is_macro};
pub use template::{Position, Template, TemplateError, encoded};
