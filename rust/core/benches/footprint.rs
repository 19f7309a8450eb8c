//! How many bytes of heap does the node need for each task, in the queue and afterwards?
//!
//! A counting allocator sees every byte that `Node` asks for, so the numbers are exact and repeat to the byte.
//! "Released": all refs are gone; what remains is room that the tables keep for the next tasks.
#![allow(clippy::cast_precision_loss, reason = "printed with three digits")]
#![allow(clippy::print_stdout, reason = "the table is the result")]

mod node;

use node::Bench;
use peak_alloc::PeakAlloc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

fn main() {
    println!("footprint: bytes of heap for each no-op task\n");
    let heads = ["queued", "finished", "released"];
    println!("{:<20}{:>12}{:>12}{:>12}", "tasks", heads[0], heads[1], heads[2]);
    for count in [1_000, 100_000, 1_000_000] {
        let mut bench = Bench::new();
        bench.reserve(count);
        let before = HEAP.current_usage();
        let each = |heap: usize| heap.saturating_sub(before) as f64 / count as f64;
        (0..count).for_each(|_| bench.submit_task());
        let queued = each(HEAP.current_usage());
        bench.run_tasks();
        let finished = each(HEAP.current_usage());
        bench.get_and_release();
        assert!(bench.is_clean());
        let released = each(HEAP.current_usage());
        println!("{count:<20}{queued:>12.0}{finished:>12.0}{released:>12.0}");
    }
}
