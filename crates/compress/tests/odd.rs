//! Weights that are not like those of layers, under schemes of every kind.

use mlc_compress::{HalfOr, Quality, Scheme, Weight, encode};

const SCHEMES: [&str; 30] = [
    "w8",
    "w8-tensor",
    "w8-asym",
    "w8-asym-unsigned",
    "w8-absmax",
    "w8-block32-refine",
    "w4",
    "w4-unsigned",
    "w4-tensor-asym",
    "w4-block32",
    "w4-block4-asym-refine",
    "lut1",
    "lut3",
    "lut4",
    "lut6",
    "lut8",
    "lut4-uniform",
    "lut-unique",
    "lut4-g4",
    "lut2-g2-axis1",
    "lut4-pcs",
    "lut4-v2",
    "lut4-i8",
    "lut(-1,0,1)",
    "prune-50",
    "prune-2:4",
    "prune-50-block2",
    "prune-50-channel",
    "prune-50+w8",
    "prune-50+lut4",
];

fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|i| ((i as f32 * 0.618_034).fract() - 0.5) * 0.2).collect()
}

/// Names, shapes and elements.
fn odd() -> Vec<(&'static str, Vec<usize>, Vec<f32>)> {
    let one = |x: f32| vec![x; 24];
    let mut spike = vec![0.0; 24];
    spike[5] = 3.0;
    vec![
        ("zeros", vec![4, 6], one(0.0)),
        ("negative zeros", vec![4, 6], one(-0.0)),
        ("constant", vec![4, 6], one(0.37)),
        ("negative constant", vec![4, 6], one(-2.5)),
        ("one element", vec![1, 1], vec![-0.7]),
        ("one element of four axes", vec![1, 1, 1, 1], vec![0.01]),
        ("a single spike", vec![4, 6], spike),
        ("least halves", vec![4, 6], (0..24).map(|i| i as f32 / 16_777_216.0).collect()),
        ("greatest halves", vec![4, 6], (0..24).map(|i| (i as f32 - 12.0) * 5400.0).collect()),
        ("all positive", vec![4, 6], (0..24).map(|i| 1.0 + i as f32 / 10.0).collect()),
        ("prime extents", vec![7, 13], numbers(91)),
        ("prime extents of a convolution", vec![5, 3, 3, 1], numbers(45)),
        ("one row", vec![1, 97], numbers(97)),
        ("one column", vec![97, 1], numbers(97)),
        ("five axes", vec![2, 3, 2, 3, 2], numbers(72)),
        ("many rows", vec![2048, 16], numbers(2048 * 16)),
    ]
}

#[test]
fn odd_weights_decode_to_what_is_near_or_are_refused_by_name() {
    for (what, shape, elements) in odd() {
        for float in [HalfOr::Half, HalfOr::Single] {
            let elements: Vec<f32> = elements.iter().map(|&x| float.round(x.into())).collect();
            for name in SCHEMES {
                let scheme: Scheme = name.parse().unwrap();
                let weight = Weight {
                    elements: &elements,
                    shape: &shape,
                    float,
                    output: 0,
                    input: 1,
                    moments: None,
                };
                let encoded = match encode(weight, &scheme) {
                    Ok((encoded, _)) => encoded,
                    Err(misfit) => {
                        assert!(misfit.0.len() > 10, "{what} {name}: {misfit}");
                        assert!(!["w8", "w4", "lut4"].contains(&name), "{what} {name}: {misfit}");
                        continue;
                    }
                };
                let decoded = encoded.decode();
                assert_eq!(decoded.len(), elements.len(), "{what} {name}");
                assert!(decoded.iter().all(|x| x.is_finite()), "{what} {name}");
                let quality = Quality::of(&elements, &decoded);
                assert!(quality.mse.is_finite() && quality.max_error.is_finite(), "{what} {name}");
                let most = elements.iter().fold(0f32, |most, x| most.max(x.abs()));
                assert!(quality.max_error <= f64::from(most) + 1.0, "{what} {name}: {quality:?}");
                if what.contains("zeros") {
                    assert_eq!(quality.max_error, 0.0, "{what} {name}");
                }
                if what.contains("constant") && ["w8", "lut1", "lut4", "lut-unique"].contains(&name)
                {
                    assert!(quality.snr_db > 60.0, "{what} {name}: {quality:?}");
                }
            }
        }
    }
}

#[test]
fn numbers_that_are_not_finite_are_refused() {
    let mut elements = numbers(24);
    (elements[1], elements[7]) = (f32::NAN, f32::NEG_INFINITY);
    for name in SCHEMES {
        let weight = Weight {
            elements: &elements,
            shape: &[4, 6],
            float: HalfOr::Single,
            output: 0,
            input: 1,
            moments: None,
        };
        let refused = encode(weight, &name.parse().unwrap()).unwrap_err();
        assert_eq!(refused.0, "2 elements are NaN or infinite", "{name}");
    }
}

#[test]
fn weights_without_elements_are_refused() {
    for shape in [&[0, 4][..], &[4, 0, 3], &[]] {
        for name in SCHEMES {
            let weight = Weight {
                elements: &[],
                shape,
                float: HalfOr::Half,
                output: 0,
                input: 1,
                moments: None,
            };
            let refused = encode(weight, &name.parse().unwrap()).unwrap_err();
            assert_eq!(refused.0, "it has no axis or no element", "{name}");
        }
    }
}
