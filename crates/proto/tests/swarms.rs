//! The store of a tracker as a whole: random programs against the model of the fuzz target, fairness, floods.

#[path = "../../../fuzz/src/input.rs"]
pub mod input;
#[path = "../../../fuzz/src/swarms.rs"]
pub mod model;

use samara_proto::rng::Rng;

#[test]
fn random_programs_agree_with_a_list_of_everybody() {
    for seed in 0..400 {
        let mut rng = Rng::new(seed);
        let mut program = vec![0; 16 << rng.below(8)];
        rng.fill(&mut program);
        model::run(&program);
    }
}
