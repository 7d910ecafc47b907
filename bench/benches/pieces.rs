//! How long each piece of a postback's way takes, alone: `make pieces`. What is compared from one
//! machine to another are the instructions (`make bench ONLY=instructions`).

use bench::work::{Piece, Work};
use divan::counter::ItemsCount;

fn main() {
    divan::main();
}

#[divan::bench(args = Piece::ALL)]
fn postbacks(bencher: divan::Bencher<'_, '_>, piece: Piece) {
    let mut work = Work::new(piece).expect("the benchmarks' offers are good");
    let prepared = work.prepare().expect("the benchmarks' clicks are good");
    let each = work.run(&prepared).expect("it was done before");
    let work = std::cell::RefCell::new(work);
    bencher
        .counter(ItemsCount::new(each))
        .with_inputs(|| work.borrow_mut().prepare().expect("it was done before"))
        .bench_local_refs(|prepared| work.borrow_mut().run(prepared));
}
