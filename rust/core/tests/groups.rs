//! Placement groups that come and go: what is left of them.

#![allow(clippy::unwrap_used, reason = "a story goes as the test says, or the test fails")]

mod common;

use common::{DRIVER, ONE, Stage};
use skate_core::action::Reply;
use skate_core::event::{Held, Request};
use skate_core::group::{GroupSpec, GroupState};
use skate_core::id::{RequestId, TaskId};

/// A program may make groups for ever: each one that was removed stayed in the table.
#[test]
fn removed_groups_are_listed_for_a_while() {
    let mut stage = Stage::new(1, 8);
    for counter in 1..=1_100 {
        let ready = TaskId::new(DRIVER, 10_000 + counter).item(0);
        let key = format!("{counter:08}").as_str().into();
        let bundles = [[("CPU".into(), ONE)].into()].into();
        let (name, strategy) = ("".into(), "PACK".into());
        let spec = GroupSpec { ready, key, name, strategy, bundles };
        let key = spec.key.clone();
        stage.say(DRIVER, Request::Reserve(spec.into()));
        stage.say(DRIVER, Request::RemoveGroup(key));
        stage.release(Held::Object(ready));
    }
    stage.say(DRIVER, Request::Groups(RequestId(1)));
    let Some(Reply::Groups(groups)) = stage.reply_to(RequestId(1)) else { panic!("no answer") };
    assert_eq!(groups.len(), 1_000);
    assert!(groups.iter().all(|(_, state)| *state == GroupState::Removed));
    assert_eq!(&*groups[0].0.key, "00000101", "the oldest are gone");
}
