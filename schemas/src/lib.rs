//! What the services say to each other: ids, money, time, reasons, topics, messages and the
//! validated configuration. Pure data: no I/O, no clock, no async. Services share this crate and
//! the event log, and nothing else.

pub mod availability;
pub mod catalog;
pub mod click;
pub mod codec;
pub mod decision;
pub mod decision_view;
pub mod erasure;
pub mod ids;
pub mod input;
pub mod link;
pub mod money;
pub mod offer;
pub mod postback;
pub mod profile;
pub mod reason;
pub mod refusal;
pub mod sql;
pub mod time;
pub mod topic;

pub use availability::{Availability, AvailabilityScope};
pub use catalog::{
    Amounts, Catalog, CatalogReader, ConfigDocument, ConfigMarker, ConfigRecord, Document, Terms,
};
pub use click::{Click, ClickKey, Platform, ResolvedClick, SUB_ID_COUNT, SubIds};
pub use codec::{DecodeError, Message};
pub use decision::{
    CommandEffect, CommandOutcome, Conversion, ConversionChange, ConversionStatus, Decision,
    PostbackOutcome, Redecision, RedecisionEffect,
};
pub use decision_view::{ConversionView, FlagsView, PostbackOutcomeView, SubIdsView};
pub use erasure::{Erasure, ErasureKind};
pub use ids::{
    AdvertiserId, ConversionId, ConversionIdView, EventId, IdError, OfferId, PostbackId,
    PublisherId, ShareId, TenantId,
};
pub use input::{ClickDetails, Command, CommandKind, Input, Postback, Redecide};
pub use money::{Currency, Micros, Money};
pub use offer::{
    Advertiser, AmountsAt, Caps, Event, EventOverride, Integration, LiveState, Offer, Publisher,
    SequenceRule, Share, Targeting, Tenant,
};
pub use postback::{
    DeliveryAttempt, DeliveryKind, DeliveryOrder, DeliveryOutcome, DeliveryProblem, Destination,
    PublisherMessage, PublisherPostback,
};
pub use profile::Profile;
pub use reason::{Flag, Outcome, Reason};
pub use refusal::{DeadLetter, Mismatch, Refusal};
pub use time::UnixMillis;
pub use topic::Topic;
