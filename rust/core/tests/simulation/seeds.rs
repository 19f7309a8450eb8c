//! Plays seeds, on all cores; a failure is played again, and says the command that repeats it, and
//! its story.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::world::World;

/// Played by a plain `cargo test`.
const USUAL_SEEDS: u64 = 500;
/// Lines of a failure's story.
const STORY_LINES: usize = 60;

/// What must have happened at least once in as many seeds as are usual.
const WAYS: [&str; 13] = [
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
    "workers stopped for want of memory",
    "streams closed, or items given back",
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

/// Plays the seeds that the environment asks for, or some.
pub(crate) fn play_all() {
    let first = variable("SKATE_SIM_FIRST").unwrap_or(1);
    let last = variable("SKATE_SIM_SEEDS").unwrap_or(USUAL_SEEDS);
    let (first, last) = variable("SKATE_SIM_SEED").map_or((first, last), |seed| (seed, seed));
    let began = Instant::now();
    let next = AtomicU64::new(first);
    let failure: Mutex<Option<(u64, String)>> = Mutex::new(None);
    let counts: [AtomicU64; WAYS.len()] = [const { AtomicU64::new(0) }; WAYS.len()];
    // Where it was is part of the news; the rest is told once, below.
    std::panic::set_hook(Box::new(|panic| {
        PLACE.set(panic.location().map(ToString::to_string).unwrap_or_default());
    }));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while failure.lock().unwrap().is_none() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > last {
                        break;
                    }
                    let mut world = World::new(seed, false);
                    if let Err(error) = play(&mut world) {
                        *failure.lock().unwrap() = Some((seed, error));
                    }
                    for (sum, count) in counts.iter().zip(world.ways()) {
                        sum.fetch_add(count, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let story = failure.into_inner().unwrap().map(|(seed, error)| story_of(seed, &error));
    let _ = std::panic::take_hook();
    if let Some(story) = story {
        panic!("{story}");
    }
    let seeds = last - first + 1;
    let per_minute = seeds * 60_000 / (began.elapsed().as_millis() as u64).max(1);
    let counts = counts.map(AtomicU64::into_inner);
    let ways = counts.iter().zip(WAYS).map(|(count, way)| format!("{count} {way}"));
    eprintln!("{seeds} seeds, {per_minute} per minute: {}", ways.collect::<Vec<_>>().join(", "));
    let is_usual = variable("SKATE_SIM_SEED").is_none() && seeds >= USUAL_SEEDS;
    assert!(!is_usual || counts.iter().all(|count| *count > 0), "each of these must happen");
}
