//! One network of symbolic height and width on a picture in many sizes, as detectors run it.
//!
//! A size that was not seen before is planned when it comes; kernels and packed weights are there already. `prepare` does
//! that beforehand. `cargo run --release --example pyramid -- MODEL PICTURE [LEVELS]` shows what each size takes.

mod levels;

use levels::{pictures, prepare, run, table};
use rectify::Model;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let [model, picture, rest @ ..] = given.as_slice() else {
        return Err("give a model and a picture".into());
    };
    let count = rest.first().map_or(Ok(10), |n| n.parse())?;
    for prepared in [false, true] {
        let network = Model::open(model)?.compiler().threads(1).compile()?;
        let mut sizes = pictures(picture.as_ref(), count + 1, 480)?;
        // What the first run of a process pays for kernels and weights belongs to no size.
        run(&network, vec![sizes.remove(0)])?;
        if prepared {
            prepare(&network, &sizes)?;
        }
        println!("{}", if prepared { "prepared:" } else { "as they come:" });
        print!("{}", table(&run(&network, sizes)?));
    }
    Ok(())
}
