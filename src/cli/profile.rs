//! Times of a plan's steps: medians over runs, which one disturbed run does not move.

use super::failure::Failure;
use rectify::StepTime;

/// Milliseconds of each step, the medians of so many runs. `run` runs once and returns the times of that run.
pub fn step_medians(
    runs: usize,
    mut run: impl FnMut() -> Result<Vec<StepTime>, Failure>,
) -> Result<Vec<f64>, Failure> {
    let mut times: Vec<Vec<f64>> = vec![];
    for _ in 0..runs {
        let steps = run()?;
        times.resize(steps.len(), vec![]);
        for (all, step) in times.iter_mut().zip(&steps) {
            all.push(step.wall_nanos as f64 / step.calls.max(1) as f64 / 1e6);
        }
    }
    Ok(times.into_iter().map(median).collect())
}

/// The one in the middle, or the mean of the two in the middle; 0 of nothing.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disturbed_run_does_not_move_medians() {
        let mut walls = [[5, 1], [900, 2], [7, 3]].into_iter();
        let times = step_medians(3, || {
            let step = |wall_nanos: u64| StepTime {
                calls: 1,
                wall_nanos: wall_nanos * 1_000_000,
                ..StepTime::default()
            };
            Ok(walls.next().expect("three runs").map(step).to_vec())
        });
        assert_eq!(times.ok(), Some(vec![7.0, 2.0]));
        assert_eq!(median(vec![4.0, 1.0]), 2.5);
        assert_eq!(median(vec![]), 0.0);
    }
}
