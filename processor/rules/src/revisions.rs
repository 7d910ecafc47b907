//! The revisions that a step made of one click's conversions: what is theirs alone is in a
//! [`Row`], the rest they borrow from their click and its terms.

use crate::case::EventOf;
use crate::context;
use crate::flags::FlagSet;
use crate::kind::Kind;
use crate::output::Scratch;
use crate::record::Sale;
use crate::text::Text;
use crate::wire::Reader;
use schemas::{
    Amounts, ConversionIdView, ConversionView, Offer, PostbackId, ResolvedClick, Share, SubIdsView,
    UnixMillis,
};
use std::sync::Arc;

/// One revision of one conversion.
#[derive(Debug, Clone)]
pub struct Row {
    /// The hash in the conversion id.
    pub identity: [u8; 16],
    pub event: EventOf,
    pub amounts: Amounts,
    pub kind: Kind,
    pub revision: u32,
    pub received_at: UnixMillis,
    pub due_at: Option<UnixMillis>,
    pub sale: Option<Sale>,
    pub transaction: Option<Text>,
    pub flags: FlagSet,
    /// The operator's words are about this one.
    pub is_noted: bool,
}

/// Where a click's sub-ids are.
#[derive(Debug)]
pub enum Subs {
    /// In its token, all that there are.
    Token,
    /// In these bytes out of its details, which have been read once.
    Details(Vec<u8>),
}

/// All that a step made of one click.
#[derive(Debug)]
pub struct Revisions<'a> {
    pub rows: Vec<Row>,
    pub decided_at: UnixMillis,
    pub click: &'a ResolvedClick,
    pub click_id: &'a str,
    pub offer: Arc<Offer>,
    pub share: Arc<Share>,
    pub subs: Subs,
    pub test: bool,
    pub note: &'a str,
    pub postback_id: Option<PostbackId>,
}

impl Revisions<'_> {
    /// In the order they were made.
    pub fn views(&self) -> impl Iterator<Item = ConversionView<'_>> {
        let subs = self.subs();
        self.rows.iter().map(move |row| self.view(row, subs))
    }

    fn subs(&self) -> SubIdsView<'_> {
        match &self.subs {
            Subs::Token => SubIdsView::from(&self.click.subs),
            Subs::Details(bytes) => {
                context::read_subs(&mut Reader::new(bytes, context::SUBS)).unwrap_or_default()
            }
        }
    }

    fn view<'b>(&'b self, row: &'b Row, subs: SubIdsView<'b>) -> ConversionView<'b> {
        let event = row.event.event();
        let shared = self.share.event(&event.id);
        ConversionView {
            conversion_id: ConversionIdView {
                root_offer: &self.click.root_offer,
                hash: row.identity,
            },
            revision: row.revision,
            click_id: self.click_id,
            clicked_at: self.click.clicked_at(),
            tenant: &self.offer.tenant,
            advertiser_id: &self.offer.advertiser,
            offer_id: &self.offer.id,
            root_offer_id: &self.click.root_offer,
            share_id: &self.share.id,
            publisher_id: &self.share.publisher,
            event_id: &event.id,
            event_name: shared.and_then(|changed| changed.name.as_ref()).unwrap_or(&event.name),
            sequence: event.sequence,
            status: row.kind.status(),
            reason: row.kind.reason(),
            note: if row.is_noted { self.note } else { "" },
            received_at: row.received_at,
            due_at: row.due_at,
            decided_at: self.decided_at,
            revenue: row.amounts.revenue,
            payout: row.amounts.payout,
            currency: row.amounts.currency,
            reward: row.amounts.reward,
            reward_unit: &row.event.offer.reward_unit,
            sale_amount: row.sale.map(|sale| sale.micros),
            sale_currency: row.sale.map(|sale| sale.currency),
            transaction_id: row.transaction.as_ref().map(Text::as_str),
            offer_version: row.amounts.offer_version,
            country: self.click.country(),
            platform: self.click.platform,
            subs,
            test: self.test,
            flags: row.flags.view(&[]),
            postback_id: self.postback_id,
        }
    }

    /// Gives the memory back once everything is told.
    pub fn recycle(self, scratch: &mut Scratch) {
        scratch.keep_rows(self.rows);
        if let Subs::Details(bytes) = self.subs {
            scratch.details = bytes;
        }
    }
}
