use super::*;

/// Rows with a key and a size.
struct Test;

impl Kind for Test {
    type Row = (u64, usize);
    type Answer = u64;

    fn keys(row: &Self::Row) -> Vec<u64> {
        vec![row.0]
    }

    fn bytes(row: &Self::Row) -> usize {
        row.1
    }

    fn call(_: &[Arc<Self::Row>]) -> Call {
        Call::write("test")
    }

    fn answers(rows: &[Arc<Self::Row>], _: Vec<Row>) -> Result<Vec<u64>, StoreError> {
        Ok(rows.iter().map(|row| row.0).collect())
    }
}

/// Takes everything, and returns the sizes of the batches.
fn taken(jobs: &Jobs) -> Vec<usize> {
    let batches = std::iter::from_fn(|| jobs.take(Duration::ZERO));
    batches
        .map(|batch| {
            let rows = batch.rows();
            batch.answer(Ok(Vec::new()));
            rows
        })
        .collect()
}

#[tokio::test]
async fn rows_with_a_key_in_common_go_out_one_after_the_other() {
    let jobs = Arc::<Jobs>::default();
    let sender = jobs.kind::<Test>();
    let answers: Vec<_> = [1, 2, 1, 3, 1, 2]
        .map(|key| sender.send((key, 0)))
        .into_iter()
        .collect();
    assert_eq!(taken(&jobs), [3, 2, 1]);
    let mut keys = Vec::new();
    for answer in answers {
        keys.push(answer.await.unwrap());
    }
    assert_eq!(keys, [1, 2, 1, 3, 1, 2]);
    assert!(jobs.is_idle());
}

#[tokio::test]
async fn batches_are_bounded() {
    let jobs = Arc::<Jobs>::default();
    let sender = jobs.kind::<Test>();
    for key in 0..600 {
        drop(sender.send((key, 0)));
    }
    assert_eq!(taken(&jobs), [256, 256, 88]);
    for key in 0..4 {
        drop(sender.send((key, 900 << 10)));
    }
    drop(sender.send((9, 5 << 20)));
    assert_eq!(taken(&jobs), [2, 2, 1]);
}

#[tokio::test]
async fn kind_whose_row_waits_longest_is_first() {
    let jobs = Arc::<Jobs>::default();
    let (one, other) = (jobs.kind::<Test>(), jobs.kind::<Single>());
    drop(one.send((1, 0)));
    drop(other.send(Call::look("a")));
    drop(one.send((2, 0)));
    drop(other.send(Call::look("b")));
    let call = |batch: Box<dyn Batch>| batch.call().function;
    let mut calls = Vec::new();
    assert!(jobs.take(Duration::from_secs(9)).is_none());
    while let Some(batch) = jobs.take(Duration::ZERO) {
        calls.push(call(batch));
    }
    assert_eq!(calls, ["test", "a", "b"]);
}

#[tokio::test]
async fn what_waits_is_bounded_and_a_closed_queue_refuses() {
    let jobs = Arc::<Jobs>::default();
    let sender = jobs.kind::<Test>();
    for key in 0..4096 {
        drop(sender.send((key, 0)));
    }
    let refused = sender.send((9999, 0)).await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
    assert_eq!(taken(&jobs).iter().sum::<usize>(), 4096);
    // one that is larger than all that may wait is let in alone
    drop(sender.send((1, 100 << 20)));
    assert!(sender.send((2, 1)).await.is_err());
    assert_eq!(taken(&jobs), [1]);
    jobs.close();
    assert!(sender.send((3, 0)).await.is_err());
}

#[tokio::test]
async fn failure_is_told_to_every_row() {
    let jobs = Arc::<Jobs>::default();
    let sender = jobs.kind::<Test>();
    let answers = [1, 2, 3].map(|key| sender.send((key, 0)));
    let batch = jobs.take(Duration::ZERO).unwrap();
    let singles = batch.singly();
    assert_eq!(singles.len(), 3);
    for (place, single) in singles.into_iter().enumerate() {
        single.answer(if place == 1 {
            Err(StoreError::Full)
        } else {
            Ok(Vec::new())
        });
    }
    let mut outcomes = Vec::new();
    for answer in answers {
        outcomes.push(answer.await.ok());
    }
    assert_eq!(outcomes, [Some(1), None, Some(3)]);
}
