// Package live joins the world that the emulated API shows with the network that
// runs behind it: what the API creates, deletes and changes is played by package
// network, and what the API says of sessions and routes is what these say.
//
// Start reading at File, the description of a lab's world, then Spec, which turns
// a world.State into what the network should be, then Network.
package live
