//! Looks at everything there is to see of a node: it never panics, whatever the moment.

use skate_core::id::ClientId;
use skate_core::inspect::{Cell, Query, Rows, Subject, Table};
use skate_core::node::Node;

/// A question for all rows and columns of a table.
pub(crate) fn all_of(table: Table) -> Query {
    Query { table, columns: Vec::new(), filters: Vec::new(), limit: u32::MAX, is_counted: false }
}

/// The rows of a table.
pub(crate) fn look(node: &Node, table: Table) -> Rows {
    node.inspect(&all_of(table), &()).expect("all columns are there")
}

/// The cells of one column.
pub(crate) fn column(rows: &Rows, name: &str) -> Vec<Cell> {
    let place = rows.columns.iter().position(|column| column == name);
    let place = place.expect("the column is there");
    rows.rows.iter().map(|row| row[place].clone()).collect()
}

/// Every table, and why each object, task and actor waits. The chains end, and tables agree.
pub(crate) fn look_at_all(node: &Node) {
    let statistics = node.statistics();
    let [tasks, objects, actors, workers] =
        [Table::Tasks, Table::Objects, Table::Actors, Table::Workers]
            .map(|table| look(node, table));
    let is_over =
        |cell: &Cell| matches!(cell, Cell::Word(word) if *word == "FINISHED" || *word == "FAILED");
    let living = column(&tasks, "state").iter().filter(|cell| !is_over(cell)).count() as u64;
    assert_eq!(living, statistics.tasks);
    assert_eq!(objects.total, statistics.objects);
    assert_eq!(workers.total, statistics.workers + 1);
    for table in [Table::Groups, Table::Streams, Table::Yields, Table::Spans, Table::History] {
        look(node, table);
    }
    let ids = column(&tasks, "task_id").into_iter().take(20);
    let ids = ids.chain(column(&objects, "object_id").into_iter().take(20));
    let ids = ids.chain(column(&actors, "actor_id")).chain(column(&workers, "worker_id"));
    for id in ids {
        let subject = match id {
            Cell::Task(task) => Subject::Task(task),
            Cell::Object(object) => Subject::Object(object),
            Cell::Actor(actor) => Subject::Actor(actor),
            Cell::Client(client) => Subject::Client(client),
            other => panic!("{other:?} is no id"),
        };
        assert!(look(node, Table::Why(subject)).total >= 1);
    }
    look(node, Table::Why(Subject::Client(ClientId(7_777_777))));
}

pub(crate) fn text(word: &str) -> Cell {
    Cell::Text(word.into())
}
