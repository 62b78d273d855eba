package gre

// transmitter turns inner packets in its buffers into outer ones. The headers
// are put in front of the inner packet, which starts at room.
type transmitter struct {
	u     *userTunnel
	room  int
	out   *sender
	bufs  [batchSize][]byte
	sizes [batchSize]int
}

func (u *userTunnel) newTransmitter() *transmitter {
	x := &transmitter{u: u, room: u.t.Overhead(), out: newSender(u.outer.out, u.tooBig, u.stopped.Load)}
	for i := range x.bufs {
		x.bufs[i] = make([]byte, bufLen)
		if u.t.Remote.Is6() {
			putOuter6(x.bufs[i], u.t.Local.As16(), u.t.Remote.As16(), ttlOf(u.t))
		} else {
			putOuter4(x.bufs[i], u.t.Local.As4(), u.t.Remote.As4(), ttlOf(u.t))
		}
	}
	return x
}

// encapsulate prepares the first n packets for sending and returns how many are.
func (x *transmitter) encapsulate(n int) int {
	k := 0
	for i := range n {
		b := x.bufs[i][:x.room+x.sizes[i]]
		inner := b[x.room:]
		et, ok := etherTypeOf(inner)
		if !ok {
			x.u.txLost.Add(1)
			continue
		}
		putGRE(b[x.room-greLen:], et)
		if x.room == headLen {
			setOuter4(b, trafficClass(inner))
		} else {
			setOuter6(b, trafficClass(inner))
		}
		x.out.set(k, b)
		k++
	}
	return k
}

// decapsulator takes inner packets out of received ones, in place.
type decapsulator struct {
	u     *userTunnel
	v6    bool
	in    *receiver
	bufs  [batchSize][]byte
	inner [batchSize][]byte
	start int // where the socket writes: there is room for the TUN's header in front
}

func (u *userTunnel) newDecapsulator() *decapsulator {
	r := &decapsulator{u: u, v6: u.t.Remote.Is6(), in: newReceiver(u.outer.rc, u.tooBig)}
	if r.v6 {
		r.start = outerLen // the kernel delivers no outer IPv6 header
		r.in.wantControl()
	}
	for i := range r.bufs {
		r.bufs[i] = make([]byte, bufLen)
		r.in.set(i, r.bufs[i][r.start:])
	}
	return r
}

// decapsulate returns the sound ones of the first n received packets. Each
// slice has headLen bytes of room in front, and capacity behind.
func (r *decapsulator) decapsulate(n int) [][]byte {
	out := r.inner[:0]
	for i := range n {
		b, why := r.one(i)
		if why != accepted {
			r.u.refuse(why)
			continue
		}
		out = append(out, b)
	}
	return out
}

func (r *decapsulator) one(i int) ([]byte, refusal) {
	size, whole := r.in.size(i)
	if !whole {
		return nil, refuseShort
	}
	b := r.bufs[i][:r.start+size]
	at, class := r.start, byte(0)
	if r.v6 {
		class = r.in.trafficClass(i)
	} else {
		ihl, c, ok := outer4(b)
		if !ok {
			return nil, refuseShort
		}
		at, class = ihl, c
	}
	inner, why := parseGRE(b[at:])
	if why != accepted {
		return nil, why
	}
	if !markECN(inner, class) {
		return nil, refuseECN
	}
	finishSum(inner)
	return b[len(b)-len(inner)-headLen:], accepted
}
