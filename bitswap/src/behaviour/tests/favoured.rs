//! Who is always asked: what the node said last counts, at once.

use super::*;

#[tokio::test]
async fn a_peer_is_favoured_or_not_as_was_said_last() {
    let (mut behaviour, _handle) =
        Behaviour::new(Config::new(PeerId::random()), Arc::new(Store::default()) as Arc<dyn Host>);
    let peer = PeerId::random();
    for favoured in [true, false, true, true, false] {
        behaviour.favour(peer, favoured);
        assert_eq!(behaviour.connections.is_peered(&peer), favoured);
        assert_eq!(behaviour.client.is_favoured(&peer), favoured);
    }
}
