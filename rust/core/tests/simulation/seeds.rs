//! Plays seeds in chunks, on all cores, and says after each chunk how far it is; a failure is played
//! again, and says the command that repeats it, and its story.
//!
//! Invariant: chunks are played one after the other, so what is said to have passed has no gap.

use std::cell::Cell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::world::World;

/// Played by a plain `cargo test`.
const USUAL_SEEDS: u64 = 500;
/// Played between two lines of progress.
const CHUNK: u64 = 10_000;
/// Lines of a failure's story.
const STORY_LINES: usize = 60;

/// What must have happened at least once in as many seeds as are usual.
pub(crate) const WAYS: [&str; 15] = [
    "tasks",
    "constructors and calls of actors",
    "claims",
    "deaths",
    "values read",
    "items read",
    "B spilled",
    "B read back",
    "values read from disk by their readers",
    "writers sent to disk",
    "workers stopped at once for want of memory",
    "workers stopped when nothing else had helped",
    "streams closed, or items given back",
    "items sent ahead",
    "actors started again",
];

thread_local! {
    /// Where the last panic was.
    static PLACE: Cell<String> = const { Cell::new(String::new()) };
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

/// Plays one seed; the error is what was not as it must be.
fn play(world: &mut World) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| world.run())).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default();
        format!("{text} ({})", PLACE.take())
    })
}

/// Plays a failed seed again and says what happened.
fn story_of(seed: u64, error: &str) -> String {
    let mut world = World::new(seed, true);
    let _ = play(&mut world);
    let lines = world.story();
    // Whoever the error names, as `TaskId(7)` or `RequestId(7)`.
    let names: Vec<&str> = error
        .split_inclusive(')')
        .filter_map(|part| part.rfind("Id(").map(|at| &part[at.saturating_sub(4)..]))
        .collect();
    let tail = lines.len().saturating_sub(STORY_LINES);
    let mut concerned: Vec<&String> =
        lines[..tail].iter().filter(|line| names.iter().any(|name| line.contains(name))).collect();
    concerned.drain(..concerned.len().saturating_sub(STORY_LINES));
    let mut story = format!(
        "seed {seed}: {error}\n\nrepeat it by\n  SKATE_SIM_SEED={seed} cargo test -p skate-core \
         --test simulation\n\nbefore, about {names:?}:\n"
    );
    for line in concerned.into_iter().map(String::as_str).chain(["\nat last:"]) {
        story += line;
        story += "\n";
    }
    for line in &lines[tail..] {
        story += line;
        story += "\n";
    }
    story
}

/// What the environment asks for.
struct Order {
    seeds: Range<u64>,
    /// All are played, whatever fails.
    goes_on: bool,
    /// Enough to have seen everything that may happen.
    is_usual: bool,
}

impl Order {
    fn of_environment() -> Self {
        let goes_on = variable("SKATE_SIM_GOES_ON").is_some_and(|number| number > 0);
        if let Some(seed) = variable("SKATE_SIM_SEED") {
            return Self { seeds: seed..seed + 1, goes_on, is_usual: false };
        }
        let first = variable("SKATE_SIM_FIRST").unwrap_or(1);
        let count = variable("SKATE_SIM_SEEDS").unwrap_or(USUAL_SEEDS);
        Self { seeds: first..first + count, goes_on, is_usual: count >= USUAL_SEEDS }
    }

    fn chunks(&self) -> impl Iterator<Item = Range<u64>> {
        let ends = self.seeds.clone().step_by(CHUNK as usize);
        ends.map(|first| first..self.seeds.end.min(first + CHUNK))
    }
}

/// What has come of the seeds so far.
#[derive(Default)]
struct Sums {
    failures: Mutex<Vec<(u64, String)>>,
    ways: [AtomicU64; WAYS.len()],
}

impl Sums {
    fn play_chunk(&self, chunk: Range<u64>, goes_on: bool) {
        let next = AtomicU64::new(chunk.start);
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while goes_on || self.failures.lock().unwrap().is_empty() {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= chunk.end {
                            break;
                        }
                        self.play_seed(seed);
                    }
                });
            }
        });
    }

    fn play_seed(&self, seed: u64) {
        let mut world = World::new(seed, false);
        if let Err(error) = play(&mut world) {
            eprintln!("seed {seed} failed: {error}");
            self.failures.lock().unwrap().push((seed, error));
        }
        for (sum, count) in self.ways.iter().zip(world.ways()) {
            sum.fetch_add(count, Ordering::Relaxed);
        }
    }
}

/// Plays the seeds that the environment asks for, or some.
pub(crate) fn play_all() {
    let order = Order::of_environment();
    let began = Instant::now();
    let sums = Sums::default();
    // Where it was is part of the news; the rest is told once, below.
    std::panic::set_hook(Box::new(|panic| {
        PLACE.set(panic.location().map(ToString::to_string).unwrap_or_default());
    }));
    for chunk in order.chunks() {
        let Range { start, end } = chunk;
        sums.play_chunk(chunk, order.goes_on);
        let failures = sums.failures.lock().unwrap().len();
        if failures > 0 && !order.goes_on {
            break;
        }
        let per_minute =
            (end - order.seeds.start) * 60_000 / (began.elapsed().as_millis() as u64).max(1);
        eprintln!(
            "seeds {start} to {} were played, {per_minute} a minute; {failures} failed so far",
            end - 1
        );
    }
    let mut failures = sums.failures.into_inner().unwrap();
    failures.sort();
    let story = failures.first().map(|(seed, error)| story_of(*seed, error));
    let _ = std::panic::take_hook();
    if let Some(story) = story {
        let seeds: Vec<u64> = failures.iter().map(|(seed, _)| *seed).collect();
        panic!("{seeds:?} failed; the first of them:\n{story}");
    }
    let counts = sums.ways.map(AtomicU64::into_inner);
    let ways = counts.iter().zip(WAYS).map(|(count, way)| format!("{count} {way}"));
    eprintln!("{}", ways.collect::<Vec<_>>().join(", "));
    assert!(!order.is_usual || counts.iter().all(|count| *count > 0), "each of these must happen");
}
