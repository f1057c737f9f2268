//! How many pixels to take at once: the heights of tiles, and what tilings cost.
//!
//! The code of a kernel has a few fixed heights. A strip is cut into them so that no tile is tiny: six pixels wide,
//! 49 pixels are four tiles of six and five of five, never eight of six and a single one.

/// The tile heights that the code of a kernel contains, tallest first. Any count of pixels is a sum of these.
pub fn tile_heights(pixels: u8) -> Vec<u8> {
    match pixels {
        0..=4 => (1..=pixels).rev().collect(),
        _ => vec![pixels, pixels - 1, pixels - 2, 1],
    }
}

/// `table[remaining]` is the height of the next tile; counts past the end take the tallest tile.
pub fn tile_table(pixels: u8, vectors: u8) -> Vec<i64> {
    tilings(pixels, vectors).into_iter().map(|(_, height)| height).collect()
}

/// Estimated cost of all tiles of `count` pixels, in sixths of a cycle per reduction element.
pub fn tiling_cost(pixels: u8, vectors: u8, count: i64) -> i64 {
    let best = tilings(pixels, vectors);
    let tallest = i64::from(pixels);
    let excess = count - (best.len() as i64 - 1);
    let full = (excess + tallest - 1).max(0) / tallest;
    let rest = (count - full * tallest).max(0) as usize;
    full * tile_cost(tallest, i64::from(vectors)) + best.get(rest).map_or(0, |&(cost, _)| cost)
}

/// Two multiply-adds and three loads a cycle; a dependent multiply-add every four cycles; a little for the tile's
/// prologue and epilogue.
fn tile_cost(height: i64, vectors: i64) -> i64 {
    let products = height * vectors;
    (3 * products).max(2 * (products + vectors)).max(24) + 1
}

/// For each small count of pixels the cost of its best tiling, and the height of that tiling's first tile.
fn tilings(pixels: u8, vectors: u8) -> Vec<(i64, i64)> {
    let heights = tile_heights(pixels);
    let mut best = vec![(0i64, 0i64)];
    for remaining in 1..4 * i64::from(pixels) {
        let choice = heights
            .iter()
            .map(|&height| i64::from(height))
            .filter(|&height| height <= remaining)
            .map(|height| {
                let rest = best[(remaining - height) as usize].0;
                (rest + tile_cost(height, i64::from(vectors)), height)
            })
            .min_by_key(|&(cost, height)| (cost, -height));
        best.push(choice.unwrap_or((0, 1)));
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_every_count_without_tiny_ones() {
        for pixels in 1..=8u8 {
            let (heights, table) = (tile_heights(pixels), tile_table(pixels, 2));
            assert_eq!(table.len(), 4 * pixels as usize);
            for count in 1..200usize {
                let mut remaining = count;
                let mut tiles = Vec::new();
                while remaining > 0 {
                    let height = table.get(remaining).copied().unwrap_or(i64::from(pixels)) as usize;
                    assert!(heights.contains(&(height as u8)) && height <= remaining);
                    tiles.push(height);
                    remaining -= height;
                }
                if pixels == 6 && count >= 8 {
                    assert!(tiles.iter().all(|&tile| tile >= 4), "{count}: {tiles:?}");
                }
            }
        }
    }
}
